// The transforms of Winograd's F(4x4, 3x3), with the matrices A, B and G of winograd.h.
//
// They evaluate polynomials at 0, +-a, +-b and infinity. With a = 1/sqrt(2) and b = sqrt(2) the rounding error is
// twice that of a direct convolution; with 1 and 2, as in the paper, it is five times.

#pragma once

#include "simd.h"

namespace {

constexpr int kTile = 4;            // side of a tile of outputs
constexpr int kWindow = kTile + 2;  // side of the pixels under it
constexpr float kA = 0.70710678f, kB = 1.41421356f;  // a and b; a^2 = 1/2, b^2 = 2

// B^T of a line of pixels.
inline void line_of_pixels(const Vec d[6], Vec to[6]) {
  Vec even_a = d[4] - 2.0f * d[2], odd_a = kA * (d[3] - 2.0f * d[1]);
  Vec even_b = d[4] - 0.5f * d[2], odd_b = kB * (d[3] - 0.5f * d[1]);
  to[0] = d[0] - 2.5f * d[2] + d[4];
  to[1] = even_a + odd_a, to[2] = even_a - odd_a;
  to[3] = even_b + odd_b, to[4] = even_b - odd_b;
  to[5] = d[1] - 2.5f * d[3] + d[5];
}

// A^T of a line of products.
inline void line_of_outputs(const Vec m[6], Vec to[4]) {
  Vec even_a = m[1] + m[2], odd_a = kA * (m[1] - m[2]), even_b = m[3] + m[4], odd_b = kB * (m[3] - m[4]);
  to[0] = m[0] + even_a + even_b;
  to[1] = odd_a + odd_b;
  to[2] = 0.5f * even_a + 2.0f * even_b;
  to[3] = 0.5f * odd_a + 2.0f * odd_b + m[5];
}

// A of a line of the outputs' gradients.
inline void line_of_gradients(const Vec y[4], Vec to[6]) {
  Vec even_a = y[0] + 0.5f * y[2], odd_a = kA * (y[1] + 0.5f * y[3]);
  Vec even_b = y[0] + 2.0f * y[2], odd_b = kB * (y[1] + 2.0f * y[3]);
  to[0] = y[0];
  to[1] = even_a + odd_a, to[2] = even_a - odd_a;
  to[3] = even_b + odd_b, to[4] = even_b - odd_b;
  to[5] = y[3];
}

// G of a line of the kernel.
inline void line_of_kernel(const Vec g[3], Vec to[6]) {
  Vec even_a = (-2.0f / 3) * (g[0] + 0.5f * g[2]), odd_a = (-2.0f / 3 * kA) * g[1];
  Vec even_b = (1.0f / 6) * (g[0] + 2.0f * g[2]), odd_b = (1.0f / 6 * kB) * g[1];
  to[0] = g[0];
  to[1] = even_a + odd_a, to[2] = even_a - odd_a;
  to[3] = even_b + odd_b, to[4] = even_b - odd_b;
  to[5] = g[2];
}

// G^T of a line of sums of products.
inline void line_of_sums(const Vec m[6], Vec to[3]) {
  Vec even_a = (-2.0f / 3) * (m[1] + m[2]), even_b = (1.0f / 6) * (m[3] + m[4]);
  to[0] = m[0] + even_a + even_b;
  to[1] = (-2.0f / 3 * kA) * (m[1] - m[2]) + (1.0f / 6 * kB) * (m[3] - m[4]);
  to[2] = 0.5f * even_a + 2.0f * even_b + m[5];
}

// The same for the absolute values of the terms: the total without cancellation.
inline void line_of_sizes(const Vec m[6], Vec to[3]) {
  Vec a = (2.0f / 3) * (m[1] + m[2]), b = (1.0f / 6) * (m[3] + m[4]);
  to[0] = m[0] + a + b;
  to[1] = kA * a + kB * b;
  to[2] = 0.5f * a + 2.0f * b + m[5];
}

// Applies `line` to each column of a square, then to each row of the result.
template <auto line, int from, int to>
inline void both_ways(const Vec square[from][from], Vec made[to][to]) {
  Vec by_column[to][from];
  E2E_UNROLL
  for (int x = 0; x < from; ++x) {
    Vec column[from], result[to];
    E2E_UNROLL
    for (int y = 0; y < from; ++y) column[y] = square[y][x];
    line(column, result);
    E2E_UNROLL
    for (int y = 0; y < to; ++y) by_column[y][x] = result[y];
  }
  E2E_UNROLL
  for (int y = 0; y < to; ++y) line(by_column[y], made[y]);
}

}  // namespace
