// Convolutions of one event's maps on one core, and their gradients: direct, and Winograd for 3x3 kernels.
//
// Maps are [row, column, channel] with a border of one zero pixel, the padding of every convolution after the
// first. A map has 16 or 32 channels, a multiple of the register length.
//
// A convolution is a sum of "taps": a tap is a position in the kernel with the input position it reads. A tile
// of N neighboring output columns stays in registers while all taps and input channels are added to it.

#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "simd.h"

namespace {

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

// One position of a kernel: reads `inputs` channels at x and multiplies them by kernel [inputs, outputs].
struct Tap {
  const float* x;
  const float* kernel;
};

// The operations on a sum of taps before it is written.
struct Finish {
  const float* bias = nullptr;      // [outputs]
  const float* shortcut = nullptr;  // same layout as the output
  bool positive = false;  // ReLU
  // Finishes the sum of the channels starting at v, for the pixel and channel `at` of y.
  void write(Vec sum, float* y, long at, long v) const {
    if (bias) sum += load(bias + v);
    if (shortcut) sum += load(shortcut + at);
    store(y + at, positive ? relu(sum) : sum);
  }
};

// N output columns of V registers of channels: the inner loop of every convolution. `outputs` is the length of
// a row of the kernel. The next column reads at a distance of `step`. Both are compile-time constants, so the
// columns need no registers for their addresses.
template <int V, int outputs, int step, int N>
void tile(const Tap* taps, int count, long shift, int inputs, float* y, long out_step, Finish finish) {
  Vec sum[N][V] = {};
  for (int t = 0; t < count; ++t) {
    const float* x = taps[t].x + shift;
    const float* kernel = taps[t].kernel;
    for (int i = 0; i < inputs; ++i, kernel += outputs) {
      E2E_UNROLL
      for (int n = 0; n < N; ++n) {
        E2E_UNROLL
        for (int v = 0; v < V; ++v) sum[n][v] += load(kernel + v * kLanes) * x[n * step + i];
      }
    }
  }
  E2E_UNROLL
  for (int n = 0; n < N; ++n) {
    E2E_UNROLL
    for (int v = 0; v < V; ++v) finish.write(sum[n][v], y, n * out_step + v * kLanes, v * kLanes);
  }
}

// Maximum number of columns whose sums fit in the registers, together with the kernel and one pixel. The
// barrel's rows of 89 and 45 pixels divide well by 15 and 9, and by 6.
template <int V>
constexpr int kColumns = std::min((kRegisters - V - 1) / V, V == 1 ? 15 : 9);

template <int V, int outputs, int step, int... N>
constexpr auto tiles(std::integer_sequence<int, N...>) {
  return std::array<void (*)(const Tap*, int, long, int, float*, long, Finish), sizeof...(N)>{
      &tile<V, outputs, step, N + 1>...};
}

// A row of output pixels, one group of channels at a time.
template <int outputs, int step>
void row(const Tap* taps, int count, int inputs, float* y, long out_step, long columns, Finish finish) {
  constexpr int V = group(outputs);
  static constexpr auto kTiles = tiles<V, outputs, step>(std::make_integer_sequence<int, kColumns<V>>());
  long pieces = (columns + kColumns<V> - 1) / kColumns<V>;
  for (int channel = 0; channel < outputs; channel += V * kLanes) {
    Tap here[9];
    for (int t = 0; t < count; ++t) here[t] = {taps[t].x, taps[t].kernel + channel};
    for (long piece = 0, first = 0; piece < pieces; ++piece) {
      long next = columns * (piece + 1) / pieces, at = first * out_step + channel;
      Finish last{finish.bias ? finish.bias + channel : nullptr, finish.shortcut ? finish.shortcut + at : nullptr,
                  finish.positive};
      kTiles[next - first - 1](here, count, first * step, inputs, y + at, out_step, last);
      first = next;
    }
  }
}

void any_row(int outputs, const Tap* taps, int count, long step, int inputs, float* y, long out_step,
             long columns, Finish finish) {
  auto narrow = step == 16 ? row<16, 16> : row<16, 32>;
  auto wide = step == 16 ? row<32, 16> : row<32, 32>;
  (outputs == 16 ? narrow : wide)(taps, count, inputs, y, out_step, columns, finish);
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

// Adds the gradient of a kernel: V registers of outputs, I inputs at a time.
template <int outputs, int V, int I>
void add_kernel_gradient(Shape in, const float* x, Shape out, const float* g, float* kernel, int side, int stride) {
  int padding = side / 2;
  for (int k = 0; k < side * side; ++k)
    for (int first = 0; first < in.maps; first += I)
      for (int channel = 0; channel < outputs; channel += V * kLanes) {
        Vec sum[I][V] = {};
        for (long r = 0; r < out.rows; ++r) {
          const float* pixel = x + in.at(stride * r + k / side - padding, k % side - padding) + first;
          const float* slope = g + out.at(r, 0) + channel;
          for (long c = 0; c < out.columns; ++c, pixel += stride * in.maps, slope += out.maps) {
            E2E_UNROLL
            for (int i = 0; i < I; ++i) {
              E2E_UNROLL
              for (int v = 0; v < V; ++v) sum[i][v] += load(slope + v * kLanes) * pixel[i];
            }
          }
        }
        for (int i = 0; i < I; ++i)
          for (int v = 0; v < V; ++v)
            add(kernel + (k * in.maps + first + i) * outputs + channel + v * kLanes, sum[i][v]);
      }
}

// Inputs per step of a kernel's gradient, with V registers of outputs each.
template <int V>
constexpr int kInputs = kRegisters == 32 ? 16 / V : 8 / V;

void kernel_gradient(Shape in, const float* x, Shape out, const float* g, float* kernel, int side, int stride) {
  constexpr int narrow = group(16), wide = group(32);
  (out.maps == 16 ? add_kernel_gradient<16, narrow, kInputs<narrow>> : add_kernel_gradient<32, wide, kInputs<wide>>)(
      in, x, out, g, kernel, side, stride);
}

// The input gradient of a 3x3 convolution with stride 2, plus that of the 1x1 shortcut, `side_g` through
// `side_turned`. Even and odd columns use different taps. `turned` is [3, 3, outputs, inputs].
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

// Sets g = 0 where y = 0 (ReLU), and adds its sum over the pixels to the bias gradient.
void through_relu(Shape shape, float* g, const float* y, float* bias, float* other_bias = nullptr) {
  Vec sum[32 / kLanes] = {};
  long vectors = shape.maps / kLanes;
  for (long r = 0; r < shape.rows; ++r)
    for (long c = 0; c < shape.columns; ++c)
      for (long v = 0; v < vectors; ++v) {
        long at = shape.at(r, c) + v * kLanes;
        Vec slope = load(y + at) > 0.0f ? load(g + at) : Vec{};
        store(g + at, slope);
        sum[v] += slope;
      }
  for (long v = 0; v < vectors; ++v) {
    add(bias + v * kLanes, sum[v]);
    if (other_bias) add(other_bias + v * kLanes, sum[v]);
  }
}

}  // namespace
