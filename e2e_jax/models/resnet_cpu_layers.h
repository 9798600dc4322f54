// The layers of resnet_cpu.cc: convolutions, their gradients, the stem; on one event's maps, on one core.
//
// Maps are [row, column, channel] with a border of one zero pixel, which is the padding of every convolution
// after the first. Channels come in 16s: one `Vec`, one register of AVX-512.
//
// The convolutions are sums of "taps": a tap is a place of the kernel, with where it reads. A tile of N
// neighbouring output columns stays in registers while all taps and input channels are added to it.
// The 3x3 convolutions that keep the size are Winograd's: 16 products for four pixels in place of 36.
// The first convolution works from the pixels that are not zero, one to five per cent of a detector image.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace {

constexpr int kLanes = 16;
typedef float Vec __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

typedef int32_t Choice __attribute__((vector_size(4 * kLanes)));

#ifdef __AVX512F__
constexpr int kRegisters = 32;  // of a whole Vec
#else
constexpr int kRegisters = 8;
#endif

inline Vec& vec(float* p) { return *reinterpret_cast<Vec*>(p); }
inline const Vec& vec(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline Vec relu(Vec v) { return v <= 0 ? Vec{} : v; }  // NaN stays NaN, here and in the maxima below

// A map's shape; data are [(rows + 2), (columns + 2), maps] with the zero border.
struct Shape {
  long rows, columns, maps;
  long row() const { return (columns + 2) * maps; }
  long size() const { return (rows + 2) * row(); }
  long at(long r, long c) const { return (r + 1) * row() + (c + 1) * maps; }  // of an inner pixel
};

void clear_border(Shape s, float* map) {
  std::memset(map, 0, sizeof(float) * s.row());
  for (long r = 0; r < s.rows; ++r) {
    std::memset(map + s.at(r, -1), 0, sizeof(float) * s.maps);
    std::memset(map + s.at(r, s.columns), 0, sizeof(float) * s.maps);
  }
  std::memset(map + s.at(s.rows, -1), 0, sizeof(float) * s.row());
}

// One place of a kernel: reads `inputs` channels at x, times kernel [inputs, outputs].
struct Tap {
  const float* x;
  const float* kernel;
};

// What happens to a sum of taps before it is written.
struct Finish {
  const float* bias = nullptr;     // [outputs]
  const float* shortcut = nullptr;  // laid out as the output
  bool relu = false;
};

// N output columns of V * 16 channels: the inner loop of every convolution. The next column reads `step`
// further on; the compiler knows it, so that the columns need no registers for their addresses.
template <int V, int step, int N>
void tile(const Tap* taps, int count, long shift, int inputs, float* y, long out_step, Finish finish) {
  Vec sum[N][V] = {};
  for (int t = 0; t < count; ++t) {
    const float* x = taps[t].x + shift;
    const float* kernel = taps[t].kernel;
    for (int i = 0; i < inputs; ++i, kernel += V * kLanes) {
#pragma GCC unroll 32
      for (int n = 0; n < N; ++n)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) sum[n][v] += vec(kernel + v * kLanes) * x[n * step + i];
    }
  }
#pragma GCC unroll 32
  for (int n = 0; n < N; ++n)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      long at = n * out_step + v * kLanes;
      Vec value = sum[n][v];
      if (finish.bias) value += vec(finish.bias + v * kLanes);
      if (finish.shortcut) value += vec(finish.shortcut + at);
      vec(y + at) = finish.relu ? relu(value) : value;
    }
}

// Most columns whose sums fit in the registers, beside the kernel's and one for the pixel; rows of 89 and 45
// pixels, the barrel's, divide well by 15 and 9.
template <int V>
constexpr int kColumns = std::min((kRegisters - V - 1) / V, V == 1 ? 15 : 9);

template <int V, int step, int... N>
constexpr auto tiles(std::integer_sequence<int, N...>) {
  return std::array{&tile<V, step, N + 1>...};
}

// A row of output pixels.
template <int V, int step>
void row(const Tap* taps, int count, int inputs, float* y, long out_step, long columns, Finish finish) {
  static constexpr auto kTiles = tiles<V, step>(std::make_integer_sequence<int, kColumns<V>>());
  long pieces = (columns + kColumns<V> - 1) / kColumns<V>;
  for (long piece = 0, first = 0; piece < pieces; ++piece) {
    long next = columns * (piece + 1) / pieces;
    Finish here = finish;
    if (here.shortcut) here.shortcut += first * out_step;
    kTiles[next - first - 1](taps, count, first * step, inputs, y + first * out_step, out_step, here);
    first = next;
  }
}

void any_row(int outputs, const Tap* taps, int count, long step, int inputs, float* y, long out_step,
             long columns, Finish finish) {
  auto narrow = step == kLanes ? row<1, kLanes> : row<1, 2 * kLanes>;
  auto wide = step == kLanes ? row<2, kLanes> : row<2, 2 * kLanes>;
  (outputs == kLanes ? narrow : wide)(taps, count, inputs, y, out_step, columns, finish);
}

// y = finish(kernel * x), a side x side kernel; `kernel` is [side, side, inputs, outputs].
void convolve(Shape in, const float* x, Shape out, float* y, const float* kernel, int side, int stride,
              Finish finish) {
  int padding = side / 2;
  for (long r = 0; r < out.rows; ++r) {
    Tap taps[9];
    for (int k = 0; k < side * side; ++k)
      taps[k] = {x + in.at(stride * r + k / side - padding, k % side - padding), kernel + k * in.maps * out.maps};
    Finish here = finish;
    if (here.shortcut) here.shortcut += out.at(r, 0);
    any_row(out.maps, taps, side * side, stride * in.maps, in.maps, y + out.at(r, 0), out.maps, out.columns, here);
  }
}

// Winograd's F(2x2, 3x3) (A. Lavin and S. Gray, arXiv:1509.09308, Section 4.1): a tile of 2x2 outputs is
// A^T [(G g G^T) * (B^T d B)] A, of the kernel g and the 4x4 pixels d under it. The products in the middle are
// kPlaces matrices, [tiles, inputs] times [inputs, outputs].
constexpr int kPlaces = 16;

// G g G^T of a kernel [3, 3, size] into [4, 4, size]; `around`: of the kernel turned by 180 degrees.
void transform_kernel(const float* kernel, long size, bool around, float* to) {
  auto line = [](const float g[3], float u[4]) {
    u[0] = g[0], u[1] = (g[0] + g[1] + g[2]) / 2, u[2] = (g[0] - g[1] + g[2]) / 2, u[3] = g[2];
  };
  for (long i = 0; i < size; ++i) {
    float by_column[3][4], column[3], all[4];
    for (int x = 0; x < 3; ++x) {
      for (int y = 0; y < 3; ++y) column[y] = kernel[(around ? 8 - 3 * y - x : 3 * y + x) * size + i];
      line(column, by_column[x]);
    }
    for (int a = 0; a < 4; ++a) {
      for (int x = 0; x < 3; ++x) column[x] = by_column[x][a];
      line(column, all);
      for (int b = 0; b < 4; ++b) to[(4 * a + b) * size + i] = all[b];
    }
  }
}

// y = finish(kernel * x) for a 3x3 kernel and as many maps as there were, V * 16; `kernel` is transformed. Where
// the number of rows or columns is odd, the last tile's outer pixels are not written; only they depend on
// what was read outside the map.
template <int V>
void convolve_tiles(Shape s, const float* x, float* y, const float* kernel, Finish finish) {
  constexpr int kMaps = V * kLanes;
  alignas(64) float work[kPlaces][kColumns<V>][kMaps];  // d, then the products: they fit into the nearest cache
  long tiles = (s.columns + 1) / 2, pieces = (tiles + kColumns<V> - 1) / kColumns<V>;
  for (long r = 0; r < s.rows; r += 2) {
    const float* lines[4];
    for (int k = 0; k < 4; ++k) lines[k] = x + s.at(std::min(r - 1 + k, s.rows), 0);
    for (long piece = 0, first = 0, next; piece < pieces; ++piece, first = next) {
      next = tiles * (piece + 1) / pieces;
      for (long v = 0; v < kMaps; v += kLanes) {
        // B^T of one column of pixels.
        auto column = [&](long c, Vec to[4]) {
          long at = std::min(c, s.columns) * kMaps + v;
          Vec d1 = vec(lines[1] + at), d2 = vec(lines[2] + at);
          to[0] = vec(lines[0] + at) - d2, to[1] = d1 + d2, to[2] = d2 - d1, to[3] = d1 - vec(lines[3] + at);
        };
        Vec d0[4], d1[4], d2[4], d3[4];
        column(2 * first - 1, d0), column(2 * first, d1);
        for (long t = first; t < next; ++t) {
          column(2 * t + 1, d2), column(2 * t + 2, d3);
#pragma GCC unroll 4
          for (int a = 0; a < 4; ++a) {
            vec(&work[4 * a][t - first][v]) = d0[a] - d2[a];
            vec(&work[4 * a + 1][t - first][v]) = d1[a] + d2[a];
            vec(&work[4 * a + 2][t - first][v]) = d2[a] - d1[a];
            vec(&work[4 * a + 3][t - first][v]) = d1[a] - d3[a];
            d0[a] = d2[a], d1[a] = d3[a];
          }
        }
      }
      for (int p = 0; p < kPlaces; ++p) {
        float* at = work[p][0];
        Tap tap{at, kernel + p * kMaps * kMaps};
        row<V, kMaps>(&tap, 1, kMaps, at, kMaps, next - first, Finish{});
      }
      for (long t = first; t < next; ++t)
        for (long v = 0; v < kMaps; v += kLanes) {
          Vec sums[2][4];  // A^T of the products
#pragma GCC unroll 4
          for (int b = 0; b < 4; ++b) {
            auto product = [&](int a) { return vec(&work[4 * a + b][t - first][v]); };
            Vec m1 = product(1), m2 = product(2);
            sums[0][b] = product(0) + m1 + m2, sums[1][b] = m1 - m2 - product(3);
          }
          for (long i = 0; i < 2 && r + i < s.rows; ++i) {
            const Vec* m = sums[i];
            Vec pair[2] = {m[0] + m[1] + m[2], m[1] - m[2] - m[3]};
            for (long j = 0; j < 2 && 2 * t + j < s.columns; ++j) {
              long at = s.at(r + i, 2 * t + j) + v;
              Vec value = pair[j];
              if (finish.bias) value += vec(finish.bias + v);
              if (finish.shortcut) value += vec(finish.shortcut + at);
              vec(y + at) = finish.relu ? relu(value) : value;
            }
          }
        }
    }
  }
}

void convolve_same(Shape s, const float* x, float* y, const float* kernel, Finish finish) {
  (s.maps == kLanes ? convolve_tiles<1> : convolve_tiles<2>)(s, x, y, kernel, finish);
}

// Adds the gradient of a convolution's kernel: V * 16 outputs, I inputs at a time in registers.
template <int V, int I>
void add_kernel_gradient(Shape in, const float* x, Shape out, const float* g, float* kernel, int side, int stride) {
  int padding = side / 2;
  for (int k = 0; k < side * side; ++k)
    for (int first = 0; first < in.maps; first += I) {
      Vec sum[I][V] = {};
      for (long r = 0; r < out.rows; ++r) {
        const float* pixel = x + in.at(stride * r + k / side - padding, k % side - padding) + first;
        const float* slope = g + out.at(r, 0);
        for (long c = 0; c < out.columns; ++c, pixel += stride * in.maps, slope += out.maps)
#pragma GCC unroll 16
          for (int i = 0; i < I; ++i)
#pragma GCC unroll 2
            for (int v = 0; v < V; ++v) sum[i][v] += vec(slope + v * kLanes) * pixel[i];
      }
      for (int i = 0; i < I; ++i)
        for (int v = 0; v < V; ++v)
          vec(kernel + ((k * in.maps + first + i) * V + v) * kLanes) += sum[i][v];
    }
}

void kernel_gradient(Shape in, const float* x, Shape out, const float* g, float* kernel, int side, int stride) {
  constexpr bool kMany = kRegisters == 32;
  (out.maps == kLanes ? add_kernel_gradient<1, kMany ? 16 : 4> : add_kernel_gradient<2, kMany ? 8 : 2>)(
      in, x, out, g, kernel, side, stride);
}

// The gradient of the input of a 3x3 convolution with stride 2, with that of the 1x1 shortcut `side_g` through
// `side_turned`. Even and odd columns see different taps. `turned` is [3, 3, outputs, inputs].
void strided_input_gradient(Shape in, float* of_x, Shape out, const float* g, const float* turned,
                            const float* side_g, const float* side_turned) {
  for (long r = 0; r < in.rows; ++r)
    for (long odd = 0; odd < 2 && odd < in.columns; ++odd) {
      Tap taps[5];
      int count = 0;
      for (int ky = 0; ky < 3; ++ky)
        for (int kx = 0; kx < 3; ++kx)
          if ((r + 1 - ky) % 2 == 0 && (odd + 1 - kx) % 2 == 0)
            taps[count++] = {g + out.at((r + 1 - ky) / 2, (odd + 1 - kx) / 2),
                             turned + (3 * ky + kx) * in.maps * out.maps};
      if (r % 2 == 0 && odd == 0) taps[count++] = {side_g + out.at(r / 2, 0), side_turned};
      any_row(in.maps, taps, count, out.maps, out.maps, of_x + in.at(r, odd), 2 * in.maps,
              (in.columns - odd + 1) / 2, Finish{});
    }
}

// g = 0 where y = 0 (ReLU), and its sum over the pixels added to the bias's gradient.
void through_relu(Shape shape, float* g, const float* y, float* bias, float* other_bias = nullptr) {
  Vec sum[2] = {};
  long vectors = shape.maps / kLanes;
  for (long r = 0; r < shape.rows; ++r)
    for (long c = 0; c < shape.columns; ++c)
      for (long v = 0; v < vectors; ++v) {
        long at = shape.at(r, c) + v * kLanes;
        Vec slope = vec(y + at) > 0 ? vec(g + at) : Vec{};
        vec(g + at) = slope;
        sum[v] += slope;
      }
  for (long v = 0; v < vectors; ++v) {
    vec(bias + v * kLanes) += sum[v];
    if (other_bias) vec(other_bias + v * kLanes) += sum[v];
  }
}

// The first convolution, 7x7 with stride 2 and padding 1, and the 2x2 maximum after it. Rows of the image pass
// one by one; of the map before the maximum, only the rows under way are in memory.
struct Stem {
  long rows, columns, channels, maps;  // of the image; maps made
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
  const long maps = stem.maps, length = stem.kept_row();
  std::vector<int32_t> won(pooled.columns * maps);  // narrowed a row at a time, which compilers do well
  for (long r = 0, begun = 0, done = 0; r < stem.rows; ++r) {
    for (; begun <= stem.last_row(r); ++begun)
      for (long at = 0; at < length; at += maps)
        for (long v = 0; v < maps; v += kLanes) vec(ring + stem.place(begun) + at + v) = vec(bias + v);
    for (long v = 0; v < maps; v += kLanes)
      stem.products(image, r, [=](float value, long to, long k) { vec(ring + to + v) += value * vec(kernel + k + v); });
    for (; done < pooled.rows && (r + 1 == stem.rows || stem.first_row(r + 1) > 2 * done + 1); ++done) {
      const float *upper = ring + stem.place(2 * done), *lower = upper + length;
      int32_t* here = won.data();
      for (long j = 0; j < pooled.columns; ++j, upper += maps, lower += maps)
        for (long v = 0; v < maps; v += kLanes, upper += kLanes, lower += kLanes, here += kLanes) {
          const float* pixels[4] = {upper, upper + maps, lower, lower + maps};
          Vec best{};
          Choice which = Choice{} + 4;
#pragma GCC unroll 4
          for (int p = 0; p < 4; ++p) {
            Choice better = ~(vec(pixels[p]) <= best);
            best = better ? vec(pixels[p]) : best;
            which = better ? Choice{} + p : which;
          }
          vec(y + pooled.at(done, j) + v) = best;
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
  const long maps = stem.maps, length = stem.kept_row();
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
          Vec slope = vec(g + pooled.at(begun, j) + v);
#pragma GCC unroll 4
          for (int p = 0; p < 4; ++p) vec(pixels[p]) = which == p ? slope : Vec{};
          vec(bias + v) += which < 4 ? slope : Vec{};
        }
    }
    for (long v = 0; v < maps; v += kLanes)
      stem.products(image, r, [=](float value, long from, long k) { vec(kernel + k + v) += value * vec(ring + from + v); });
  }
}

}  // namespace
