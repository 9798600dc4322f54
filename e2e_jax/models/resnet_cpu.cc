// ResNet-15 without its head on a CPU, forward and backward: the arithmetic of models/resnet.py.
//
// One event runs through the whole network before the next, so its maps stay in the core's cache. Maps
// are [row, column, channel] with a border of one zero pixel, which is the padding of every convolution
// after the first. Channels come in 16s: one `Vec`, one register of AVX-512.
//
// The convolutions are sums of "taps": a tap is a place of the kernel, with where it reads. A tile of N
// neighbouring output columns stays in registers while all taps and input channels are added to it.
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
typedef uint8_t Bytes __attribute__((vector_size(kLanes)));

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

// The gradient of a 3x3 convolution's input, + shortcut's: the convolution with the kernel turned around.
// `turned` is [3, 3, outputs, inputs].
void input_gradient(Shape in, float* of_x, Shape out, const float* g, const float* turned, const float* shortcut) {
  for (long r = 0; r < in.rows; ++r) {
    Tap taps[9];
    for (int k = 0; k < 9; ++k)
      taps[k] = {g + out.at(r + 1 - k / 3, 1 - k % 3), turned + k * in.maps * out.maps};
    Finish finish{nullptr, shortcut ? shortcut + in.at(r, 0) : nullptr, false};
    any_row(in.maps, taps, 9, out.maps, out.maps, of_x + in.at(r, 0), in.maps, in.columns, finish);
  }
}

// The same for stride 2, with the gradient of the 1x1 shortcut `side_g` through `side_turned`. Even and
// odd columns see different taps.
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

// The first convolution, 7x7 with stride 2 and padding 1, and the 2x2 maximum after it.
struct Stem {
  long rows, columns, channels, maps;  // of the image; maps made
  static constexpr int kSide = 7;
  long out_rows() const { return (rows + 2 - kSide) / 2 + 1; }
  long out_columns() const { return (columns + 2 - kSide) / 2 + 1; }
  Shape pooled() const { return {out_rows() / 2, out_columns() / 2, maps}; }
  // Only what the pooling sees is kept: even numbers of rows and columns.
  long kept_rows() const { return pooled().rows * 2; }
  long kept_columns() const { return pooled().columns * 2; }
  long kept() const { return kept_rows() * kept_columns() * maps; }
  long kernel_size() const { return kSide * kSide * channels * maps; }

  // Calls f(value, offset in the kept map, offset in the kernel) for every product with a pixel not zero.
  template <typename F>
  void products(const float* image, F f) const {
    constexpr long kTogether = 8;  // pixels looked at in one go: most are zero
    long all = rows * columns * channels;
    for (long at = 0; at < all; ++at) {
      if (at % kTogether == 0 && at + kTogether <= all) {
        uint64_t bits[kTogether / 2];
        std::memcpy(bits, image + at, sizeof bits);
        if (!(bits[0] | bits[1] | bits[2] | bits[3])) {
          at += kTogether - 1;
          continue;
        }
      }
      if (image[at] == 0) continue;
      long channel = at % channels, r = at / channels / columns, c = at / channels % columns;
      long last_r = std::min((r + 1) / 2, kept_rows() - 1), last_c = std::min((c + 1) / 2, kept_columns() - 1);
      for (long i = std::max(0L, (r - kSide + 3) / 2); i <= last_r; ++i)
        for (long j = std::max(0L, (c - kSide + 3) / 2); j <= last_c; ++j) {
          long ky = r + 1 - 2 * i, kx = c + 1 - 2 * j;
          f(image[at], (i * kept_columns() + j) * maps, ((ky * kSide + kx) * channels + channel) * maps);
        }
    }
  }
};

// The largest of the four pixels of bias + kernel * image, or 0, into y (a `pooled` map), and which won: 0 to
// 3, or 4 where none is above zero. `work` is kept() long.
void stem_forward(const Stem& stem, const float* image, const float* kernel, const float* bias, float* work, float* y,
                  uint8_t* winner) {
  for (long at = 0; at < stem.kept(); at += stem.maps)
    for (long v = 0; v < stem.maps; v += kLanes) vec(work + at + v) = vec(bias + v);
  for (long v = 0; v < stem.maps; v += kLanes)
    stem.products(image, [&](float value, long to, long k) { vec(work + to + v) += value * vec(kernel + k + v); });
  Shape pooled = stem.pooled();
  long down = stem.kept_columns() * stem.maps;
  for (long i = 0; i < pooled.rows; ++i)
    for (long j = 0; j < pooled.columns; ++j)
      for (long v = 0; v < stem.maps; v += kLanes, winner += kLanes) {
        const float* corner = work + 2 * i * down + 2 * j * stem.maps + v;
        const float* pixels[4] = {corner, corner + stem.maps, corner + down, corner + down + stem.maps};
        Vec best{};
        Choice which = Choice{} + 4;
        for (int p = 0; p < 4; ++p) {
          Choice better = ~(vec(pixels[p]) <= best);
          best = better ? vec(pixels[p]) : best;
          which = better ? Choice{} + p : which;
        }
        vec(y + pooled.at(i, j) + v) = best;
        Bytes bytes = __builtin_convertvector(which, Bytes);
        std::memcpy(winner, &bytes, sizeof bytes);
      }
}

// Adds the gradients of kernel and bias; g is the gradient of the pooled map.
void stem_backward(const Stem& stem, const float* image, const float* g, const uint8_t* winner, float* work,
                   float* kernel, float* bias) {
  Shape pooled = stem.pooled();
  long down = stem.kept_columns() * stem.maps;
  for (long i = 0; i < pooled.rows; ++i)
    for (long j = 0; j < pooled.columns; ++j)
      for (long v = 0; v < stem.maps; v += kLanes, winner += kLanes) {
        float* corner = work + 2 * i * down + 2 * j * stem.maps + v;
        float* pixels[4] = {corner, corner + stem.maps, corner + down, corner + down + stem.maps};
        Bytes bytes;
        std::memcpy(&bytes, winner, sizeof bytes);
        Choice which = __builtin_convertvector(bytes, Choice);
        Vec slope = vec(g + pooled.at(i, j) + v);
        for (int p = 0; p < 4; ++p) vec(pixels[p]) = which == p ? slope : Vec{};
        vec(bias + v) += which < 4 ? slope : Vec{};
      }
  for (long v = 0; v < stem.maps; v += kLanes)
    stem.products(image, [&](float value, long from, long k) { vec(kernel + k + v) += value * vec(work + from + v); });
}

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
  // Maps kept for the backward pass: the pooled one, then two a block.
  long activations() const { return (1 + 2 * blocks) * narrow.size() + 2 * (1 + blocks) * wide.size(); }
};

// A convolution's parameters in a flat array: kernel [side, side, inputs, outputs], then bias [outputs].
struct Layer {
  float *kernel, *bias;
  Layer(float* p, long inputs, long outputs, long side) : kernel(p), bias(p + side * side * inputs * outputs) {}
  Layer(const float* p, long inputs, long outputs, long side)
      : Layer(const_cast<float*>(p), inputs, outputs, side) {}
};

// y1 = relu(conv1 x), y2 = relu(conv2 y1 + x).
void block_forward(Shape s, const float* params, const float* x, float* y1, float* y2) {
  long size = Network::layer(s.maps, s.maps, 3);
  Layer conv1(params, s.maps, s.maps, 3), conv2(params + size, s.maps, s.maps, 3);
  convolve(s, x, s, y1, conv1.kernel, 3, 1, {conv1.bias, nullptr, true});
  convolve(s, y1, s, y2, conv2.kernel, 3, 1, {conv2.bias, x, true});
}

// g comes as the gradient of y2 and leaves as that of x; `h` and `other` are maps to work in.
void block_backward(Shape s, const float* turned, float* gradient, const float* x, const float* y1, const float* y2,
                    float*& g, float* h, float*& other) {
  long size = Network::layer(s.maps, s.maps, 3);
  Layer conv1(gradient, s.maps, s.maps, 3), conv2(gradient + size, s.maps, s.maps, 3);
  through_relu(s, g, y2, conv2.bias);
  kernel_gradient(s, y1, s, g, conv2.kernel, 3, 1);
  input_gradient(s, h, s, g, turned + size, nullptr);
  through_relu(s, h, y1, conv1.bias);
  kernel_gradient(s, x, s, h, conv1.kernel, 3, 1);
  input_gradient(s, other, s, h, turned, g);
  std::swap(g, other);
}

// The maps lie one after the other where they are kept for the backward pass. Otherwise two of each width take
// turns, and stay in the cache: a block's second map replaces its input, pixel by pixel.
void forward(const Network& net, const float* image, const float* params, float* features, int32_t* where,
             float* maps, uint8_t* winner, float* work, bool keep) {
  Shape n = net.narrow, w = net.wide;
  long narrow_maps = keep ? 1 + 2 * net.blocks : 2, wide_maps = keep ? 2 + 2 * net.blocks : 2;
  float *x = maps, *wide = maps + narrow_maps * n.size();
  for (long m = 0; m < narrow_maps; ++m) clear_border(n, maps + m * n.size());
  for (long m = 0; m < wide_maps; ++m) clear_border(w, wide + m * w.size());
  stem_forward(net.stem, image, params, params + net.stem.kernel_size(), work, x, winner);
  params += net.stem_size();
  for (long b = 0; b < net.blocks; ++b, params += net.narrow_block()) {
    float* y2 = keep ? x + 2 * n.size() : x;
    block_forward(n, params, x, x + n.size(), y2);
    x = y2;
  }

  float *y1 = wide, *y2 = wide + w.size();
  Layer conv1(params, n.maps, w.maps, 3), conv2(params + net.downsample_conv1(), w.maps, w.maps, 3);
  Layer side(conv2.bias + w.maps, n.maps, w.maps, 1);
  convolve(n, x, w, y1, conv1.kernel, 3, 2, {conv1.bias, nullptr, true});
  convolve(n, x, w, y2, side.kernel, 1, 2, {side.bias, nullptr, false});
  convolve(w, y1, w, y2, conv2.kernel, 3, 1, {conv2.bias, y2, true});
  params += net.downsample();
  for (long b = 0; b < net.blocks; ++b, params += net.wide_block()) {
    float *input = y2, *middle = keep ? y2 + w.size() : y1;
    y2 = keep ? y2 + 2 * w.size() : y2;
    block_forward(w, params, input, middle, y2);
  }

  for (long m = 0; m < w.maps; ++m) features[m] = y2[w.at(0, 0) + m], where[m] = w.at(0, 0) + m;
  for (long r = 0; r < w.rows; ++r)
    for (long c = 0; c < w.columns; ++c)
      for (long m = 0, at = w.at(r, c); m < w.maps; ++m, ++at)
        if (!(y2[at] <= features[m])) features[m] = y2[at], where[m] = at;
}

// What a thread works in during the backward pass; the maps' borders stay zero.
struct Workspace {
  std::vector<float> work, narrow[3], wide[3];
  explicit Workspace(const Network& net) : work(net.stem.kept()) {
    for (auto& map : narrow) map.resize(net.narrow.size());
    for (auto& map : wide) map.resize(net.wide.size());
  }
};

void backward(const Network& net, const float* image, const float* turned, const float* of_features,
              const int32_t* where, const float* maps, const uint8_t* winner, float* gradient, Workspace& space) {
  Shape n = net.narrow, w = net.wide;
  float *g = space.wide[0].data(), *h = space.wide[1].data(), *other = space.wide[2].data();
  std::memset(g, 0, sizeof(float) * w.size());
  for (long m = 0; m < w.maps; ++m) g[where[m]] = of_features[m];

  turned += net.parameters(), gradient += net.parameters(), maps += net.activations() - w.size();
  for (long b = 0; b < net.blocks; ++b) {
    turned -= net.wide_block(), gradient -= net.wide_block(), maps -= 2 * w.size();
    block_backward(w, turned, gradient, maps, maps + w.size(), maps + 2 * w.size(), g, h, other);
  }

  turned -= net.downsample(), gradient -= net.downsample();
  const float *y2 = maps, *y1 = y2 - w.size(), *x = y1 - n.size();
  long second = net.downsample_conv1(), third = second + Network::layer(w.maps, w.maps, 3);
  Layer conv1(gradient, n.maps, w.maps, 3), conv2(gradient + second, w.maps, w.maps, 3);
  Layer side(gradient + third, n.maps, w.maps, 1);
  through_relu(w, g, y2, conv2.bias, side.bias);
  kernel_gradient(w, y1, w, g, conv2.kernel, 3, 1);
  kernel_gradient(n, x, w, g, side.kernel, 1, 2);
  input_gradient(w, h, w, g, turned + second, nullptr);
  through_relu(w, h, y1, conv1.bias);
  kernel_gradient(n, x, w, h, conv1.kernel, 3, 2);
  float *of_x = space.narrow[0].data(), *h2 = space.narrow[1].data(), *other2 = space.narrow[2].data();
  strided_input_gradient(n, of_x, w, h, turned, g, turned + third);

  maps = x;
  for (long b = 0; b < net.blocks; ++b) {
    turned -= net.narrow_block(), gradient -= net.narrow_block(), maps -= 2 * n.size();
    block_backward(n, turned, gradient, maps, maps + n.size(), maps + 2 * n.size(), of_x, h2, other2);
  }
  gradient -= net.stem_size();
  stem_backward(net.stem, image, of_x, winner, space.work.data(), gradient, gradient + net.stem.kernel_size());
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

// images [n, rows, columns, channels] and flat parameters -> features [n, wide], and for the backward pass
// where each feature's pixel is, all maps, and the pooling's winners. Empty maps and winners are not kept.
ffi::Error Forward(Floats images, Floats params, FloatResult features, ffi::ResultBuffer<ffi::S32> where,
                   FloatResult maps, ffi::ResultBuffer<ffi::U8> winners, int64_t narrow, int64_t wide, int64_t blocks,
                   int64_t threads) {
  Network net = network(images, narrow, wide, blocks);
  long pooled = net.narrow.rows * net.narrow.columns * narrow, image = net.stem.rows * net.stem.columns * net.stem.channels;
  bool keep = maps->element_count() > 0;
  if (long(params.element_count()) != net.parameters() || (keep && maps->dimensions()[1] != net.activations()))
    return ffi::Error(ffi::ErrorCode::kInvalidArgument, "the parameters or maps do not fit the network");
  split(images.dimensions()[0], threads, [&](long, long first, long last) {
    std::vector<float> work(net.stem.kept()), own_maps(keep ? 0 : 2 * (net.narrow.size() + net.wide.size()));
    std::vector<uint8_t> own_winners(keep ? 0 : pooled);
    for (long e = first; e < last; ++e)
      forward(net, images.typed_data() + e * image, params.typed_data(), features->typed_data() + e * wide,
              where->typed_data() + e * wide, keep ? maps->typed_data() + e * net.activations() : own_maps.data(),
              keep ? winners->typed_data() + e * pooled : own_winners.data(), work.data(), keep);
  });
  return ffi::Error::Success();
}

// The gradient of the flat parameters, given that of the features [n, wide].
ffi::Error Backward(Floats images, Floats params, Floats of_features, ffi::Buffer<ffi::S32> where, Floats maps,
                    ffi::Buffer<ffi::U8> winners, FloatResult gradient, int64_t narrow, int64_t wide, int64_t blocks,
                    int64_t threads) {
  Network net = network(images, narrow, wide, blocks);
  long pooled = net.narrow.rows * net.narrow.columns * narrow, image = net.stem.rows * net.stem.columns * net.stem.channels;
  std::vector<float> turned = turn(net, params.typed_data());
  std::vector<std::vector<float>> parts(std::max<int64_t>(threads, 1));
  split(images.dimensions()[0], threads, [&](long thread, long first, long last) {
    parts[thread].resize(net.parameters());
    Workspace space(net);
    for (long e = first; e < last; ++e)
      backward(net, images.typed_data() + e * image, turned.data(), of_features.typed_data() + e * wide,
               where.typed_data() + e * wide, maps.typed_data() + e * net.activations(),
               winners.typed_data() + e * pooled, parts[thread].data(), space);
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
