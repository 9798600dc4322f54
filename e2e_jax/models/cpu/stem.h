// The first convolution (7x7, stride 2, padding 1) and the following 2x2 maximum, computed from the nonzero
// pixels only: one to five percent of a detector image.

#pragma once

#include <cstdint>

#include "convolution.h"

namespace {

// A nonzero pixel of a row, in one channel: for j from 0 to 3, the output of column j is at offset `output` + j
// in the map's row, and its kernel position is at `kernel` - 2 j channels in the kernel's row.
struct Hit {
  float value;
  int32_t output, kernel;
};

// Rows of the image are processed one by one. Only unfinished rows of the map before the maximum are in memory.
struct Stem {
  static constexpr long maps = 16;  // output maps
  long rows, columns, channels;     // of the image
  static constexpr int kSide = 7;
  static constexpr int kRing = 8;     // unfinished rows: at most six, in pairs
  static constexpr int kOutputs = 4;  // output columns that use a pixel, in pairs: one of eight positions is unused
  static constexpr int kBefore = kOutputs - 1;  // columns in memory before the map's first, for its first pixels
  long out_rows() const { return (rows + 2 - kSide) / 2 + 1; }
  long out_columns() const { return (columns + 2 - kSide) / 2 + 1; }
  Shape pooled() const { return {out_rows() / 2, out_columns() / 2, maps}; }
  // Only rows and columns that the pooling uses are computed: even numbers of both.
  long kept_rows() const { return pooled().rows * 2; }
  long kept_columns() const { return pooled().columns * 2; }
  long row() const { return (kBefore + columns / 2 + 1) * maps; }
  long ring() const { return kRing * row(); }
  long place(long r) const { return r % kRing * row(); }  // offset in the ring of a row of the map
  long kernel_row() const { return kSide * channels * maps; }
  long kernel_size() const { return kSide * kernel_row(); }
  // The same for a kernel with an additional column of zeros, so that four columns use every pixel.
  long padded_row() const { return 2 * kOutputs * channels * maps; }
  long padded_size() const { return kSide * padded_row(); }

  // First and last row of the map that use row r of the image.
  long first_row(long r) const { return std::max(0L, (r - kSide + 3) / 2); }
  long last_row(long r) const { return std::min((r + 1) / 2, kept_rows() - 1); }

  // The nonzero pixels of row r; returns their number.
  int hits(const float* image, long r, Hit* to) const {
    const long length = columns * channels;
    const uint64_t inverse = (uint64_t(1) << 32) / channels + 1;
    const float* line = image + r * length;
    const Hit* begin = to;
    for (long start = 0; start < length; start += 64) {
      const long end = std::min(start + 64, length);
      uint64_t bits = 0;
      long at = start;
      for (; at + kLanes <= end; at += kLanes) bits |= uint64_t(not_zero(load(line + at))) << (at - start);
      for (; at < end; ++at) bits |= uint64_t(line[at] != 0) << (at - start);
      for (; bits; bits &= bits - 1) {
        const long here = start + __builtin_ctzll(bits), c = here * inverse >> 32, channel = here - c * channels;
        const long last = (c + 1) / 2, place = (c + 1) % 2 + 2 * kBefore;  // the first column uses the last position
        *to++ = {line[here], int32_t(last * maps), int32_t((place * channels + channel) * maps)};
      }
    }
    return to - begin;
  }

  // Calls f(value, offset in the ring, offset in the padded kernel) for every product with a pixel of row r.
  template <typename F>
  void products(const Hit* hits, int count, long r, F f) const {
    for (long i = first_row(r); i <= last_row(r); ++i) {
      const long to = place(i), kernel = (r + 1 - 2 * i) * padded_row();
      for (int n = 0; n < count; ++n) {
        E2E_UNROLL
        for (int j = 0; j < kOutputs; ++j) {
          E2E_UNROLL
          for (long v = 0; v < maps; v += kLanes)
            f(hits[n].value, to + hits[n].output + j * maps + v, kernel + hits[n].kernel - 2 * j * channels * maps + v);
        }
      }
    }
  }
};

// Work memory of a thread's stem.
struct StemSpace {
  Array ring, kernel;
  std::vector<Hit> hits;
  std::vector<int32_t> won;  // for a row of the pooled map; narrowed row by row, which compilers vectorize well
  explicit StemSpace(const Stem& stem)
      : ring(stem.ring()), kernel(stem.padded_size()), hits(stem.columns * stem.channels),
        won(stem.pooled().columns * Stem::maps) {}
};

// Writes the maximum of four pixels of bias + kernel * image, or 0, to y (a `pooled` map), and the index of the
// maximum: 0 to 3, or 4 if none is above zero.
void stem_forward(const Stem& stem, const float* image, const float* kernel, const float* bias, StemSpace& space,
                  float* y, uint8_t* winner) {
  const Shape pooled = stem.pooled();
  constexpr long maps = Stem::maps;
  const long length = stem.row();
  float *ring = space.ring.data(), *padded = space.kernel.data();
  std::memset(padded, 0, sizeof(float) * stem.padded_size());
  for (int k = 0; k < Stem::kSide; ++k)
    std::copy_n(kernel + k * stem.kernel_row(), stem.kernel_row(), padded + k * stem.padded_row());
  for (long r = 0, begun = 0, done = 0; r < stem.rows; ++r) {
    for (; begun <= stem.last_row(r); ++begun)
      for (long at = 0; at < length; at += maps)
        for (long v = 0; v < maps; v += kLanes) store(ring + stem.place(begun) + at + v, load(bias + v));
    const int count = stem.hits(image, r, space.hits.data());
    stem.products(space.hits.data(), count, r,
                  [=](float value, long to, long k) { add(ring + to, value * load(padded + k)); });
    for (; done < pooled.rows && (r + 1 == stem.rows || stem.first_row(r + 1) > 2 * done + 1); ++done) {
      const float *upper = ring + stem.place(2 * done) + Stem::kBefore * maps, *lower = upper + length;
      int32_t* here = space.won.data();
      for (long j = 0; j < pooled.columns; ++j, upper += maps, lower += maps)
        for (long v = 0; v < maps; v += kLanes, upper += kLanes, lower += kLanes, here += kLanes) {
          const float* pixels[4] = {upper, upper + maps, lower, lower + maps};
          Vec best{};
          Choice which = Choice{} + 4;
          E2E_UNROLL
          for (int p = 0; p < 4; ++p) {
            Choice better = ~(load(pixels[p]) <= best);
            best = better ? load(pixels[p]) : best;
            which = better ? Choice{} + p : which;
          }
          store(y + pooled.at(done, j) + v, best);
          std::memcpy(here, &which, sizeof which);
        }
      winner = std::copy(space.won.begin(), space.won.end(), winner);
    }
  }
}

// Adds the gradients of kernel and bias; g is the gradient of the pooled map.
void stem_backward(const Stem& stem, const float* image, const float* g, const uint8_t* winner, StemSpace& space,
                   float* kernel, float* bias) {
  const Shape pooled = stem.pooled();
  constexpr long maps = Stem::maps;
  const long length = stem.row();
  float *ring = space.ring.data(), *padded = space.kernel.data();
  std::memset(ring, 0, sizeof(float) * stem.ring());
  std::memset(padded, 0, sizeof(float) * stem.padded_size());
  Vec of_bias[maps / kLanes] = {};
  for (long r = 0, begun = 0; r < stem.rows; ++r) {
    for (; 2 * begun <= stem.last_row(r); ++begun) {
      std::copy_n(winner, space.won.size(), space.won.begin());
      winner += space.won.size();
      float *upper = ring + stem.place(2 * begun) + Stem::kBefore * maps, *lower = upper + length;
      const int32_t* here = space.won.data();
      for (long j = 0; j < pooled.columns; ++j, upper += maps, lower += maps) {
        E2E_UNROLL
        for (long v = 0; v < maps; v += kLanes, upper += kLanes, lower += kLanes, here += kLanes) {
          float* pixels[4] = {upper, upper + maps, lower, lower + maps};
          Choice which;
          std::memcpy(&which, here, sizeof which);
          Vec slope = load(g + pooled.at(begun, j) + v);
          E2E_UNROLL
          for (int p = 0; p < 4; ++p) store(pixels[p], which == p ? slope : Vec{});
          of_bias[v / kLanes] += which < 4 ? slope : Vec{};
        }
      }
    }
    const int count = stem.hits(image, r, space.hits.data());
    stem.products(space.hits.data(), count, r,
                  [=](float value, long from, long k) { add(padded + k, value * load(ring + from)); });
  }
  for (int k = 0; k < Stem::kSide; ++k)
    for (long at = 0; at < stem.kernel_row(); at += kLanes)
      add(kernel + k * stem.kernel_row() + at, load(padded + k * stem.padded_row() + at));
  for (long v = 0; v < maps; v += kLanes) add(bias + v, of_bias[v / kLanes]);
}

}  // namespace
