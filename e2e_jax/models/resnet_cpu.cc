// ResNet-15 without its head on a CPU, forward and backward: the arithmetic of models/resnet.py.
//
// One event runs through the whole network before the next, so its maps stay in the core's cache. Maps
// are [row, column, channel] with a border of one zero pixel, which is the padding of every convolution
// after the first. Channels come in 16s: one `Vec`, one register of AVX-512.
//
// The convolutions are sums of "taps": a tap is a place of the kernel, with where it reads. A tile of N
// neighbouring output columns stays in registers while all taps and input channels are added to it.
// The 3x3 convolutions that keep the size are Winograd's: 16 products for four pixels in place of 36.
// The first convolution works from the pixels that are not zero, one to five per cent of a detector image.
//
// models/resnet_cpu.py compiles this file when it is first needed and binds it to JAX.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

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

// Which maps forward keeps for backward: the pooled one and each block's output, its first convolution's as well,
// or none of them.
enum class Keep { kNothing, kOutputs, kAll };

// The network: where each parameter and each map lies in the flat arrays.
struct Network {
  Stem stem;
  Shape narrow, wide;
  long blocks;  // at each width, beside the one that changes the width

  Network(long rows, long columns, long channels, long narrow_maps, long wide_maps, long blocks)
      : stem{rows, columns, channels, narrow_maps}, narrow(stem.pooled()), blocks(blocks) {
    wide = {(narrow.rows + 1) / 2, (narrow.columns + 1) / 2, wide_maps};
  }
  static long layer(long inputs, long outputs, long side) { return (side * side * inputs + 1) * outputs; }
  long stem_size() const { return stem.kernel_size() + stem.maps; }
  long narrow_block() const { return 2 * layer(narrow.maps, narrow.maps, 3); }
  long downsample_conv1() const { return layer(narrow.maps, wide.maps, 3); }
  long downsample() const {
    return downsample_conv1() + layer(wide.maps, wide.maps, 3) + layer(narrow.maps, wide.maps, 1);
  }
  long wide_block() const { return 2 * layer(wide.maps, wide.maps, 3); }
  long parameters() const { return stem_size() + blocks * (narrow_block() + wide_block()) + downsample(); }
  long narrow_tiles() const { return 2 * kPlaces * narrow.maps * narrow.maps; }
  long wide_tiles() const { return 2 * kPlaces * wide.maps * wide.maps; }
  long tile_kernels() const { return blocks * (narrow_tiles() + wide_tiles()) + wide_tiles() / 2; }
  // Length of the maps that are kept, or of those that forward works in beside.
  long activations(Keep keep) const {
    if (keep == Keep::kNothing) return narrow.size() + wide.size();
    long of_block = keep == Keep::kAll ? 2 : 1;
    return (1 + of_block * blocks) * narrow.size() + of_block * (1 + blocks) * wide.size();
  }
};

// A convolution's parameters in a flat array: kernel [side, side, inputs, outputs], then bias [outputs].
struct Layer {
  float *kernel, *bias;
  Layer(float* p, long inputs, long outputs, long side) : kernel(p), bias(p + side * side * inputs * outputs) {}
  Layer(const float* p, long inputs, long outputs, long side)
      : Layer(const_cast<float*>(p), inputs, outputs, side) {}
};

// The kernels of the 3x3 convolutions that keep the size, transformed, in the network's order; `around`: turned.
std::vector<float> transform(const Network& net, const float* params, bool around) {
  long n = net.narrow.maps, w = net.wide.maps;
  std::vector<float> all(net.tile_kernels());
  float* to = all.data();
  auto layer = [&](long maps) {
    transform_kernel(params, maps * maps, around, to);
    params += Network::layer(maps, maps, 3), to += kPlaces * maps * maps;
  };
  params += net.stem_size();
  for (long b = 0; b < 2 * net.blocks; ++b) layer(n);
  params += net.downsample_conv1();
  layer(w);
  params += Network::layer(n, w, 1);
  for (long b = 0; b < 2 * net.blocks; ++b) layer(w);
  return all;
}

// y1 = relu(conv1 x), y2 = relu(conv2 y1 + x); `tiles` are the kernels, transformed.
void block_first(Shape s, const float* params, const float* tiles, const float* x, float* y1) {
  convolve_same(s, x, y1, tiles, {Layer(params, s.maps, s.maps, 3).bias, nullptr, true});
}

void downsample_first(Shape n, Shape w, const float* params, const float* x, float* y1) {
  Layer conv1(params, n.maps, w.maps, 3);
  convolve(n, x, w, y1, conv1.kernel, 3, 2, {conv1.bias, nullptr, true});
}

void block_forward(Shape s, const float* params, const float* tiles, const float* x, float* y1, float* y2) {
  Layer conv2(params + Network::layer(s.maps, s.maps, 3), s.maps, s.maps, 3);
  block_first(s, params, tiles, x, y1);
  convolve_same(s, y1, y2, tiles + kPlaces * s.maps * s.maps, {conv2.bias, x, true});
}

// g comes as the gradient of y2 and leaves as that of x; `h` and `other` are maps to work in. `tiles` are the
// kernels turned and transformed.
void block_backward(Shape s, const float* tiles, float* gradient, const float* x, const float* y1, const float* y2,
                    float*& g, float* h, float*& other) {
  Layer conv1(gradient, s.maps, s.maps, 3), conv2(gradient + Network::layer(s.maps, s.maps, 3), s.maps, s.maps, 3);
  through_relu(s, g, y2, conv2.bias);
  kernel_gradient(s, y1, s, g, conv2.kernel, 3, 1);
  convolve_same(s, g, h, tiles + kPlaces * s.maps * s.maps, Finish{});
  through_relu(s, h, y1, conv1.bias);
  kernel_gradient(s, x, s, h, conv1.kernel, 3, 1);
  convolve_same(s, h, other, tiles, {nullptr, g, false});
  std::swap(g, other);
}

// What a thread works in; the maps' borders stay zero.
struct Workspace {
  std::vector<float> ring, narrow, wide;
  explicit Workspace(const Network& net)
      : ring(net.stem.ring()), narrow(net.narrow.size()), wide(net.wide.size()) {}
};

// The maps that are kept lie one after the other. Those that are not take turns, and stay in the cache: where
// nothing is kept, a block's output replaces its input, pixel by pixel.
void forward(const Network& net, const float* image, const float* params, const float* tiles, float* features,
             int32_t* where, float* maps, uint8_t* winner, Workspace& space, Keep keep) {
  Shape n = net.narrow, w = net.wide;
  bool all = keep == Keep::kAll;
  long of_block = all ? 2 : keep == Keep::kOutputs ? 1 : 0;
  long narrow_maps = 1 + of_block * net.blocks, wide_maps = std::max(1L, of_block * (1 + net.blocks));
  float *x = maps, *wide = maps + narrow_maps * n.size();
  for (long m = 0; m < narrow_maps; ++m) clear_border(n, maps + m * n.size());
  for (long m = 0; m < wide_maps; ++m) clear_border(w, wide + m * w.size());
  stem_forward(net.stem, image, params, params + net.stem.kernel_size(), space.ring.data(), x, winner);
  params += net.stem_size();
  for (long b = 0; b < net.blocks; ++b, params += net.narrow_block(), tiles += net.narrow_tiles()) {
    float *y1 = all ? x + n.size() : space.narrow.data(), *y2 = x + of_block * n.size();
    block_forward(n, params, tiles, x, y1, y2);
    x = y2;
  }

  float *y1 = all ? wide : space.wide.data(), *y2 = all ? wide + w.size() : wide;
  Layer conv2(params + net.downsample_conv1(), w.maps, w.maps, 3), side(conv2.bias + w.maps, n.maps, w.maps, 1);
  downsample_first(n, w, params, x, y1);
  convolve(n, x, w, y2, side.kernel, 1, 2, {side.bias, nullptr, false});
  convolve_same(w, y1, y2, tiles, {conv2.bias, y2, true});
  params += net.downsample(), tiles += net.wide_tiles() / 2;
  for (long b = 0; b < net.blocks; ++b, params += net.wide_block(), tiles += net.wide_tiles()) {
    float* input = y2;
    y1 = all ? y2 + w.size() : y1, y2 += of_block * w.size();
    block_forward(w, params, tiles, input, y1, y2);
  }

  for (long m = 0; m < w.maps; ++m) features[m] = y2[w.at(0, 0) + m], where[m] = w.at(0, 0) + m;
  for (long r = 0; r < w.rows; ++r)
    for (long c = 0; c < w.columns; ++c)
      for (long m = 0, at = w.at(r, c); m < w.maps; ++m, ++at)
        if (!(y2[at] <= features[m])) features[m] = y2[at], where[m] = at;
}

// The parameters as backward needs them: as they are, and turned; of each, the kernels that convolve tiles.
struct Kernels {
  const float* params;
  std::vector<float> turned, tiles, turned_tiles;
};

// Maps of gradients, for backward.
struct Slopes {
  std::vector<float> narrow[3], wide[3];
  explicit Slopes(const Network& net) {
    for (auto& map : narrow) map.resize(net.narrow.size());
    for (auto& map : wide) map.resize(net.wide.size());
  }
};

void backward(const Network& net, const float* image, const Kernels& kernels, const float* of_features,
              const int32_t* where, const float* maps, const uint8_t* winner, float* gradient, Workspace& space,
              Slopes& slopes, Keep keep) {
  Shape n = net.narrow, w = net.wide;
  bool all = keep == Keep::kAll;
  long of_block = all ? 2 : 1;
  float *g = slopes.wide[0].data(), *h = slopes.wide[1].data(), *other = slopes.wide[2].data();
  std::memset(g, 0, sizeof(float) * w.size());
  for (long m = 0; m < w.maps; ++m) g[where[m]] = of_features[m];

  const float *params = kernels.params + net.parameters(), *turned = kernels.turned.data() + net.parameters();
  const float *tiles = kernels.tiles.data() + net.tile_kernels();
  const float *turned_tiles = kernels.turned_tiles.data() + net.tile_kernels();
  auto back = [&](long size, long tile_size) {
    params -= size, turned -= size, gradient -= size, tiles -= tile_size, turned_tiles -= tile_size;
  };
  gradient += net.parameters(), maps += net.activations(keep) - w.size();
  // Of a block with input x: the output of its first convolution.
  auto first = [&](Shape s, const float* x, std::vector<float>& made) {
    if (all) return x + s.size();
    block_first(s, params, tiles, x, made.data());
    return static_cast<const float*>(made.data());
  };
  for (long b = 0; b < net.blocks; ++b) {
    back(net.wide_block(), net.wide_tiles()), maps -= of_block * w.size();
    const float* y1 = first(w, maps, space.wide);
    block_backward(w, turned_tiles, gradient, maps, y1, maps + of_block * w.size(), g, h, other);
  }

  back(net.downsample(), net.wide_tiles() / 2);
  const float *y2 = maps, *x = y2 - (of_block - 1) * w.size() - n.size(), *y1 = y2 - w.size();
  long second = net.downsample_conv1(), third = second + Network::layer(w.maps, w.maps, 3);
  if (!all) downsample_first(n, w, params, x, space.wide.data()), y1 = space.wide.data();
  Layer conv1(gradient, n.maps, w.maps, 3), conv2(gradient + second, w.maps, w.maps, 3);
  Layer side(gradient + third, n.maps, w.maps, 1);
  through_relu(w, g, y2, conv2.bias, side.bias);
  kernel_gradient(w, y1, w, g, conv2.kernel, 3, 1);
  kernel_gradient(n, x, w, g, side.kernel, 1, 2);
  convolve_same(w, g, h, turned_tiles, Finish{});
  through_relu(w, h, y1, conv1.bias);
  kernel_gradient(n, x, w, h, conv1.kernel, 3, 2);
  float *of_x = slopes.narrow[0].data(), *h2 = slopes.narrow[1].data(), *other2 = slopes.narrow[2].data();
  strided_input_gradient(n, of_x, w, h, turned, g, turned + third);

  maps = x;
  for (long b = 0; b < net.blocks; ++b) {
    back(net.narrow_block(), net.narrow_tiles()), maps -= of_block * n.size();
    y1 = first(n, maps, space.narrow);
    block_backward(n, turned_tiles, gradient, maps, y1, maps + of_block * n.size(), of_x, h2, other2);
  }
  gradient -= net.stem_size();
  stem_backward(net.stem, image, of_x, winner, space.ring.data(), gradient, gradient + net.stem.kernel_size());
}

// Each kernel [places, inputs, outputs] as [places, outputs, inputs], at the same place in the flat array.
std::vector<float> turn(const Network& net, const float* params) {
  std::vector<float> turned(net.parameters());
  long at = net.stem_size();
  auto layer = [&](long inputs, long outputs, long side) {
    for (long k = 0; k < side * side; ++k)
      for (long i = 0; i < inputs; ++i)
        for (long o = 0; o < outputs; ++o)
          turned[at + (k * outputs + o) * inputs + i] = params[at + (k * inputs + i) * outputs + o];
    at += Network::layer(inputs, outputs, side);
  };
  long n = net.narrow.maps, w = net.wide.maps;
  for (long b = 0; b < 2 * net.blocks; ++b) layer(n, n, 3);
  layer(n, w, 3), layer(w, w, 3), layer(n, w, 1);
  for (long b = 0; b < 2 * net.blocks; ++b) layer(w, w, 3);
  return turned;
}

// Splits the events evenly among threads: f(thread, first, last).
void split(long events, long threads, const std::function<void(long, long, long)>& f) {
  threads = std::clamp(threads, 1L, std::max(1L, events));
  std::vector<std::thread> others;
  for (long t = 1; t < threads; ++t)
    others.emplace_back(f, t, events * t / threads, events * (t + 1) / threads);
  f(0, 0, events / threads);
  for (auto& other : others) other.join();
}

using Floats = ffi::Buffer<ffi::F32>;
using FloatResult = ffi::ResultBuffer<ffi::F32>;

Network network(const Floats& images, int64_t narrow, int64_t wide, int64_t blocks) {
  auto size = images.dimensions();
  return Network(size[1], size[2], size[3], narrow, wide, blocks);
}

// Which maps a buffer [n, length] is for; false where it fits none, or the parameters are not the network's.
bool understood(const Network& net, long parameters, long length, Keep& keep) {
  keep = !length ? Keep::kNothing : length == net.activations(Keep::kAll) ? Keep::kAll : Keep::kOutputs;
  return parameters == net.parameters() && (!length || length == net.activations(keep));
}

ffi::Error misfit() {
  return ffi::Error(ffi::ErrorCode::kInvalidArgument, "the parameters or maps do not fit the network");
}

// images [n, rows, columns, channels] and flat parameters -> features [n, wide], and for the backward pass
// where each feature's pixel is, the maps to keep, and the pooling's winners; empty where nothing is kept.
ffi::Error Forward(Floats images, Floats params, FloatResult features, ffi::ResultBuffer<ffi::S32> where,
                   FloatResult maps, ffi::ResultBuffer<ffi::U8> winners, int64_t narrow, int64_t wide, int64_t blocks,
                   int64_t threads) {
  Network net = network(images, narrow, wide, blocks);
  long pooled = net.narrow.rows * net.narrow.columns * narrow, image = net.stem.rows * net.stem.columns * net.stem.channels;
  Keep keep;
  if (!understood(net, params.element_count(), maps->dimensions()[1], keep)) return misfit();
  bool nothing = keep == Keep::kNothing;
  std::vector<float> tiles = transform(net, params.typed_data(), false);
  split(images.dimensions()[0], threads, [&](long, long first, long last) {
    Workspace space(net);
    std::vector<float> own_maps(nothing ? net.activations(keep) : 0);
    std::vector<uint8_t> own_winners(nothing ? pooled : 0);
    for (long e = first; e < last; ++e)
      forward(net, images.typed_data() + e * image, params.typed_data(), tiles.data(),
              features->typed_data() + e * wide, where->typed_data() + e * wide,
              nothing ? own_maps.data() : maps->typed_data() + e * net.activations(keep),
              nothing ? own_winners.data() : winners->typed_data() + e * pooled, space, keep);
  });
  return ffi::Error::Success();
}

// The gradient of the flat parameters, given that of the features [n, wide]. Maps that were not kept are made
// again, while they are needed.
ffi::Error Backward(Floats images, Floats params, Floats of_features, ffi::Buffer<ffi::S32> where, Floats maps,
                    ffi::Buffer<ffi::U8> winners, FloatResult gradient, int64_t narrow, int64_t wide, int64_t blocks,
                    int64_t threads) {
  Network net = network(images, narrow, wide, blocks);
  long pooled = net.narrow.rows * net.narrow.columns * narrow, image = net.stem.rows * net.stem.columns * net.stem.channels;
  Keep keep;
  if (!understood(net, params.element_count(), maps.dimensions()[1], keep) || keep == Keep::kNothing) return misfit();
  Kernels kernels{params.typed_data(), turn(net, params.typed_data()), transform(net, params.typed_data(), false), {}};
  kernels.turned_tiles = transform(net, kernels.turned.data(), true);
  std::vector<std::vector<float>> parts(std::max<int64_t>(threads, 1));
  split(images.dimensions()[0], threads, [&](long thread, long first, long last) {
    parts[thread].resize(net.parameters());
    Workspace space(net);
    Slopes slopes(net);
    for (long e = first; e < last; ++e)
      backward(net, images.typed_data() + e * image, kernels, of_features.typed_data() + e * wide,
               where.typed_data() + e * wide, maps.typed_data() + e * net.activations(keep),
               winners.typed_data() + e * pooled, parts[thread].data(), space, slopes, keep);
  });
  std::fill_n(gradient->typed_data(), net.parameters(), 0.0f);
  for (auto& part : parts)  // in this order, whichever thread was first
    for (size_t i = 0; i < part.size(); ++i) gradient->typed_data()[i] += part[i];
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(resnet_forward, Forward,
                              ffi::Ffi::Bind()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Ret<Floats>()
                                  .Ret<ffi::Buffer<ffi::S32>>()
                                  .Ret<Floats>()
                                  .Ret<ffi::Buffer<ffi::U8>>()
                                  .Attr<int64_t>("narrow")
                                  .Attr<int64_t>("wide")
                                  .Attr<int64_t>("blocks")
                                  .Attr<int64_t>("threads"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(resnet_backward, Backward,
                              ffi::Ffi::Bind()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Arg<Floats>()
                                  .Arg<ffi::Buffer<ffi::U8>>()
                                  .Ret<Floats>()
                                  .Attr<int64_t>("narrow")
                                  .Attr<int64_t>("wide")
                                  .Attr<int64_t>("blocks")
                                  .Attr<int64_t>("threads"));
