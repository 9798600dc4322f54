// The 3x3 convolutions that keep the size, and the gradients of their kernels, by Winograd's method.
//
// F(2x2, 3x3) (A. Lavin and S. Gray, arXiv:1509.09308, Section 4.1): a tile of 2x2 outputs is
// A^T [(G g G^T) * (B^T d B)] A, of the kernel g and the 4x4 pixels d under it: 16 products for four pixels in
// place of 36. The products are kPlaces matrices, [tiles, inputs] times [inputs, outputs].
// The kernel's gradient is F(3x3, 2x2) of the same pixels and of the 2x2 gradients of the tile's outputs, whose
// products are summed over all tiles: [inputs, tiles] times [tiles, outputs].

#pragma once

#include "convolution.h"

namespace {

constexpr int kPlaces = 16;

// Most tiles that are transformed together: what is made of them stays in the core's cache.
constexpr long kStrip = 12;

// A sum is rounding alone below this share of its terms' total: some units in the last place of a float.
constexpr float kRounding = 1e-6f;

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

// A number for each place, tile and channel of a strip.
template <int maps>
using Strip = float[kPlaces][kStrip][maps];

// B^T d B of the tiles `first` to `next` of the rows r and r + 1. Where the number of rows or columns is odd,
// pixels outside the map are replaced by others; only outputs outside the map depend on them.
template <int maps>
void transform_pixels(Shape s, const float* x, long r, long first, long next, Strip<maps>& to) {
  const float* lines[4];
  for (int k = 0; k < 4; ++k) lines[k] = x + s.at(std::min(r - 1 + k, s.rows), 0);
  for (long v = 0; v < maps; v += kLanes) {
    // B^T of one column of pixels.
    auto column = [&](long c, Vec made[4]) {
      long at = std::min(c, s.columns) * maps + v;
      Vec d1 = load(lines[1] + at), d2 = load(lines[2] + at);
      made[0] = load(lines[0] + at) - d2, made[1] = d1 + d2, made[2] = d2 - d1, made[3] = d1 - load(lines[3] + at);
    };
    Vec d0[4], d1[4], d2[4], d3[4];
    column(2 * first - 1, d0), column(2 * first, d1);
    for (long t = first; t < next; ++t) {
      column(2 * t + 1, d2), column(2 * t + 2, d3);
      E2E_UNROLL
      for (int a = 0; a < 4; ++a) {
        store(&to[4 * a][t - first][v], d0[a] - d2[a]);
        store(&to[4 * a + 1][t - first][v], d1[a] + d2[a]);
        store(&to[4 * a + 2][t - first][v], d2[a] - d1[a]);
        store(&to[4 * a + 3][t - first][v], d1[a] - d3[a]);
        d0[a] = d2[a], d1[a] = d3[a];
      }
    }
  }
}

// Calls f(row, first tile, tile after the last) for the strips of a map.
template <typename F>
void for_strips(Shape s, F f) {
  long tiles = (s.columns + 1) / 2, pieces = (tiles + kStrip - 1) / kStrip;
  for (long r = 0; r < s.rows; r += 2)
    for (long piece = 0; piece < pieces; ++piece) f(r, tiles * piece / pieces, tiles * (piece + 1) / pieces);
}

// y = finish(kernel * x) for a 3x3 kernel and as many maps as there were; `kernel` is transformed.
template <int maps>
void convolve_tiles(Shape s, const float* x, float* y, const float* kernel, Finish finish) {
  // A row is read whole before it is written where all of its channels are computed together.
  constexpr bool kInPlace = group(maps) * kLanes == maps;
  alignas(64) Strip<maps> pixels, others;
  auto& products = kInPlace ? pixels : others;
  for_strips(s, [&](long r, long first, long next) {
    transform_pixels<maps>(s, x, r, first, next, pixels);
    for (int p = 0; p < kPlaces; ++p) {
      Tap tap{pixels[p][0], kernel + p * maps * maps};
      row<maps, maps>(&tap, 1, maps, products[p][0], maps, next - first, Finish{});
    }
    for (long t = first; t < next; ++t)
      for (long v = 0; v < maps; v += kLanes) {
        Vec sums[2][4];  // A^T of the products
        E2E_UNROLL
        for (int b = 0; b < 4; ++b) {
          auto product = [&](int a) { return load(&products[4 * a + b][t - first][v]); };
          Vec m1 = product(1), m2 = product(2);
          sums[0][b] = product(0) + m1 + m2, sums[1][b] = m1 - m2 - product(3);
        }
        for (long i = 0; i < 2 && r + i < s.rows; ++i) {
          const Vec* m = sums[i];
          Vec pair[2] = {m[0] + m[1] + m[2], m[1] - m[2] - m[3]};
          for (long j = 0; j < 2 && 2 * t + j < s.columns; ++j) {
            long at = s.at(r + i, 2 * t + j) + v;
            Vec value = pair[j];
            if (finish.bias) value += load(finish.bias + v);
            if (finish.shortcut) value += load(finish.shortcut + at);
            store(y + at, finish.relu ? relu(value) : value);
          }
        }
      }
  });
}

// G' g G'^T of the 2x2 gradients of each tile's outputs, G' being (1, 0), (1, 1)/2, (1, -1)/2, (0, 1).
template <int maps>
void transform_gradients(Shape s, const float* g, long r, long first, long next, Strip<maps>& to) {
  for (long v = 0; v < maps; v += kLanes)
    for (long t = first; t < next; ++t) {
      // Beyond an odd number of rows or columns lies the border, which is zero.
      const float *upper = g + s.at(r, 2 * t) + v, *lower = upper + s.row();
      Vec half{};
      half += 0.5f;
      Vec lines[4][2];
      E2E_UNROLL
      for (int c = 0; c < 2; ++c) {
        Vec up = load(upper + c * maps), low = load(lower + c * maps);
        lines[0][c] = up, lines[1][c] = half * (up + low), lines[2][c] = half * (up - low), lines[3][c] = low;
      }
      E2E_UNROLL
      for (int a = 0; a < 4; ++a) {
        Vec left = lines[a][0], right = lines[a][1];
        store(&to[4 * a][t - first][v], left);
        store(&to[4 * a + 1][t - first][v], half * (left + right));
        store(&to[4 * a + 2][t - first][v], half * (left - right));
        store(&to[4 * a + 3][t - first][v], right);
      }
    }
}

// Adds [inputs, tiles] times [tiles, outputs] to sums [inputs, outputs].
template <int maps, int V, int I>
void add_products(long tiles, const float (*pixels)[maps], const float (*gradients)[maps], float* sums) {
  for (int channel = 0; channel < maps; channel += V * kLanes)
    for (int first = 0; first < maps; first += I) {
      Vec sum[I][V];
      E2E_UNROLL
      for (int i = 0; i < I; ++i) {
        E2E_UNROLL
        for (int v = 0; v < V; ++v) sum[i][v] = load(sums + (first + i) * maps + channel + v * kLanes);
      }
      for (long t = 0; t < tiles; ++t) {
        E2E_UNROLL
        for (int i = 0; i < I; ++i) {
          E2E_UNROLL
          for (int v = 0; v < V; ++v)
            sum[i][v] += load(&gradients[t][channel + v * kLanes]) * pixels[t][first + i];
        }
      }
      E2E_UNROLL
      for (int i = 0; i < I; ++i) {
        E2E_UNROLL
        for (int v = 0; v < V; ++v) store(sums + (first + i) * maps + channel + v * kLanes, sum[i][v]);
      }
    }
}

// A sum of numbers of a total `size`, or 0 where it is no more than their rounding. Where a gradient is zero,
// Winograd's sums cancel but for that, and Adam would make steps of it.
inline Vec above_rounding(Vec sum, Vec size) { return absolute(sum) <= kRounding * size ? Vec{} : sum; }

// Adds the gradient of a kernel [3, 3, maps, maps]; g has a zero border.
template <int maps>
void add_tiles_gradient(Shape s, const float* x, const float* g, float* kernel) {
  constexpr int V = group(maps);
  alignas(64) Strip<maps> pixels, gradients;
  std::vector<float> sums(kPlaces * maps * maps);
  for_strips(s, [&](long r, long first, long next) {
    transform_pixels<maps>(s, x, r, first, next, pixels);
    transform_gradients<maps>(s, g, r, first, next, gradients);
    for (int p = 0; p < kPlaces; ++p)
      add_products<maps, V, kInputs<V>>(next - first, pixels[p], gradients[p], &sums[p * maps * maps]);
  });
  // A'^T of the sums, A'^T being (1, 1, 1, 0), (0, 1, -1, 0), (0, 1, 1, -1), as B^T's last line is negative.
  // `sizes` are the same sums of absolute values.
  for (long i = 0; i < maps * maps; i += kLanes) {
    Vec lines[3][4], sizes[3][4];
    for (int b = 0; b < 4; ++b) {
      auto sum = [&](int a) { return load(&sums[(4 * a + b) * maps * maps + i]); };
      Vec middle = absolute(sum(1)) + absolute(sum(2));
      lines[0][b] = sum(0) + sum(1) + sum(2), sizes[0][b] = absolute(sum(0)) + middle;
      lines[1][b] = sum(1) - sum(2), sizes[1][b] = middle;
      lines[2][b] = sum(1) + sum(2) - sum(3), sizes[2][b] = middle + absolute(sum(3));
    }
    for (int y = 0; y < 3; ++y) {
      const Vec *m = lines[y], *size = sizes[y];
      float* to = kernel + 3 * y * maps * maps + i;
      add(to, above_rounding(m[0] + m[1] + m[2], size[0] + size[1] + size[2]));
      add(to + maps * maps, above_rounding(m[1] - m[2], size[1] + size[2]));
      add(to + 2 * maps * maps, above_rounding(m[1] + m[2] - m[3], size[1] + size[2] + size[3]));
    }
  }
}

void convolve_same(Shape s, const float* x, float* y, const float* kernel, Finish finish) {
  (s.maps == 16 ? convolve_tiles<16> : convolve_tiles<32>)(s, x, y, kernel, finish);
}

void same_kernel_gradient(Shape s, const float* x, const float* g, float* kernel) {
  (s.maps == 16 ? add_tiles_gradient<16> : add_tiles_gradient<32>)(s, x, g, kernel);
}

}  // namespace
