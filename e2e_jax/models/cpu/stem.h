// The first convolution, 7x7 with stride 2 and padding 1, and the 2x2 maximum after it, from the pixels that are
// not zero: one to five per cent of a detector image.

#pragma once

#include <cstdint>

#include "convolution.h"

namespace {

// Rows of the image pass one by one; of the map before the maximum, only the rows under way are in memory.
struct Stem {
  static constexpr long maps = 16;  // made
  long rows, columns, channels;     // of the image
  static constexpr int kSide = 7;
  static constexpr int kRing = 8;  // rows under way: at most six, in pairs
  long out_rows() const { return (rows + 2 - kSide) / 2 + 1; }
  long out_columns() const { return (columns + 2 - kSide) / 2 + 1; }
  Shape pooled() const { return {out_rows() / 2, out_columns() / 2, maps}; }
  // Only what the pooling sees is made: even numbers of rows and columns.
  long kept_rows() const { return pooled().rows * 2; }
  long kept_columns() const { return pooled().columns * 2; }
  long kept_row() const { return kept_columns() * maps; }
  long ring() const { return kRing * kept_row(); }
  long place(long row) const { return row % kRing * kept_row(); }  // of a row of the map, in the ring
  long kernel_size() const { return kSide * kSide * channels * maps; }

  // First and last row of the map that see row r of the image.
  long first_row(long r) const { return std::max(0L, (r - kSide + 3) / 2); }
  long last_row(long r) const { return std::min((r + 1) / 2, kept_rows() - 1); }

  // Calls f(value, offset in the ring, offset in the kernel) for every product with a pixel of row r not zero.
  template <typename F>
  void products(const float* image, long r, F f) const {
    constexpr int kTogether = 8;  // values looked at in one go: most are zero
    const int length = columns * channels, last_column = kept_columns() - 1;
    const long first_i = first_row(r), last_i = last_row(r);
    const float* line = image + r * length;
    for (int at = 0; at < length; ++at) {
      if (at % kTogether == 0 && at + kTogether <= length) {
        uint64_t bits[kTogether / 2];
        std::memcpy(bits, line + at, sizeof bits);
        if (!(bits[0] | bits[1] | bits[2] | bits[3])) {
          at += kTogether - 1;
          continue;
        }
      }
      const float value = line[at];
      if (value == 0) continue;
      const int c = unsigned(at) / unsigned(channels), channel = at - c * channels;
      const int first_j = std::max(0, (c - kSide + 3) / 2), last_j = std::min((c + 1) / 2, last_column);
      for (long i = first_i; i <= last_i; ++i) {
        long to = place(i) + first_j * maps;
        long k = (((r + 1 - 2 * i) * kSide + c + 1 - 2 * first_j) * channels + channel) * maps;
        for (int j = first_j; j <= last_j; ++j, to += maps, k -= 2 * channels * maps) f(value, to, k);
      }
    }
  }
};

// The largest of the four pixels of bias + kernel * image, or 0, into y (a `pooled` map), and which won: 0 to
// 3, or 4 where none is above zero. `ring` is stem.ring() long.
void stem_forward(const Stem& stem, const float* image, const float* kernel, const float* bias, float* ring, float* y,
                  uint8_t* winner) {
  const Shape pooled = stem.pooled();
  constexpr long maps = Stem::maps;
  const long length = stem.kept_row();
  std::vector<int32_t> won(pooled.columns * maps);  // narrowed a row at a time, which compilers do well
  for (long r = 0, begun = 0, done = 0; r < stem.rows; ++r) {
    for (; begun <= stem.last_row(r); ++begun)
      for (long at = 0; at < length; at += maps)
        for (long v = 0; v < maps; v += kLanes) store(ring + stem.place(begun) + at + v, load(bias + v));
    stem.products(image, r, [=](float value, long to, long k) {
      E2E_UNROLL
      for (long v = 0; v < maps; v += kLanes) add(ring + to + v, value * load(kernel + k + v));
    });
    for (; done < pooled.rows && (r + 1 == stem.rows || stem.first_row(r + 1) > 2 * done + 1); ++done) {
      const float *upper = ring + stem.place(2 * done), *lower = upper + length;
      int32_t* here = won.data();
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
      winner = std::copy(won.begin(), won.end(), winner);
    }
  }
}

// Adds the gradients of kernel and bias; g is the gradient of the pooled map.
void stem_backward(const Stem& stem, const float* image, const float* g, const uint8_t* winner, float* ring,
                   float* kernel, float* bias) {
  const Shape pooled = stem.pooled();
  constexpr long maps = Stem::maps;
  const long length = stem.kept_row();
  std::vector<int32_t> won(pooled.columns * maps);
  for (long r = 0, begun = 0; r < stem.rows; ++r) {
    for (; 2 * begun <= stem.last_row(r); ++begun, winner += won.size()) {
      std::copy_n(winner, won.size(), won.begin());
      float *upper = ring + stem.place(2 * begun), *lower = upper + length;
      const int32_t* here = won.data();
      for (long j = 0; j < pooled.columns; ++j, upper += maps, lower += maps)
        for (long v = 0; v < maps; v += kLanes, upper += kLanes, lower += kLanes, here += kLanes) {
          float* pixels[4] = {upper, upper + maps, lower, lower + maps};
          Choice which;
          std::memcpy(&which, here, sizeof which);
          Vec slope = load(g + pooled.at(begun, j) + v);
            E2E_UNROLL
          for (int p = 0; p < 4; ++p) store(pixels[p], which == p ? slope : Vec{});
          add(bias + v, which < 4 ? slope : Vec{});
        }
    }
    stem.products(image, r, [=](float value, long from, long k) {
      E2E_UNROLL
      for (long v = 0; v < maps; v += kLanes) add(kernel + k + v, value * load(ring + from + v));
    });
  }
}

}  // namespace
