// Winograd's method for the 3x3 convolutions that preserve the size, and for the gradients of their kernels.
//
// F(4x4, 3x3) (A. Lavin and S. Gray, arXiv:1509.09308, Section 4.3): a tile of 4x4 outputs is
// A^T [(G g G^T) * (B^T d B)] A, with the kernel g and the 6x6 pixels d under it: 36 products for 16 pixels
// instead of 144. The products are kPlaces matrices, [tiles, inputs] times [inputs, outputs]. The gradient of the
// kernel is G^T [sum over tiles of (A y A^T) * (B^T d B)] G, with the gradients y of the outputs.

#pragma once

#include "convolution.h"
#include "winograd_transforms.h"

namespace {

constexpr int kPlaces = kWindow * kWindow;

// Maximum number of tiles that are transformed together, so that the results stay in the core's cache.
constexpr int kStrip = 12;

// G g G^T of a kernel [3, 3, size] into [6, 6, size]; `around`: for the kernel rotated by 180 degrees.
void transform_kernel(const float* kernel, long size, bool around, float* to) {
  for (long i = 0; i < size; i += kLanes) {
    Vec square[3][3], made[kWindow][kWindow];
    for (int k = 0; k < 9; ++k) square[k / 3][k % 3] = load(kernel + (around ? 8 - k : k) * size + i);
    both_ways<line_of_kernel, 3, kWindow>(square, made);
    for (int p = 0; p < kPlaces; ++p) store(to + p * size + i, made[p / kWindow][p % kWindow]);
  }
}

// A tile by its first row and column of outputs.
struct Tile {
  long row, column;
};

// A number per position, tile and channel of a strip.
template <int maps>
using Strip = float[kPlaces][kStrip][maps];

// Transforms the side x side pixels of each tile, starting `before` rows and columns before its outputs. Pixels
// outside of the map are border pixels, zero. Not inlined, because inlining makes the code slower.
template <auto line, int side, int maps>
[[gnu::noinline]] void transform_tiles(Shape s, const float* map, const Tile* tiles, int count, int before,
                                       Strip<maps>& to) {
  for (int n = 0; n < count; ++n) {
    long rows[side], columns[side];
    for (int k = 0; k < side; ++k) {
      rows[k] = s.at(std::min(tiles[n].row - before + k, s.rows), 0);
      columns[k] = std::min(tiles[n].column - before + k, s.columns) * maps;
    }
    for (long v = 0; v < maps; v += kLanes) {
      Vec square[side][side], made[kWindow][kWindow];
      E2E_UNROLL
      for (int y = 0; y < side; ++y) {
        E2E_UNROLL
        for (int x = 0; x < side; ++x) square[y][x] = load(map + rows[y] + columns[x] + v);
      }
      both_ways<line, side, kWindow>(square, made);
      E2E_UNROLL
      for (int y = 0; y < kWindow; ++y) {
        E2E_UNROLL
        for (int x = 0; x < kWindow; ++x) store(&to[kWindow * y + x][n][v], made[y][x]);
      }
    }
  }
}

// The nonzero pixels of a map. Sums that are exactly zero in a direct convolution cancel only up to rounding in
// Winograd's method, so these outputs are written as zeros.
class Occupancy {
 public:
  Occupancy(Shape s, const float* map) : row_(s.columns + 2 + kTile), pixels_((s.rows + 2 + kTile) * row_) {
    (s.maps == 16 ? &Occupancy::fill<16> : &Occupancy::fill<32>)(s, map, pixels_.data());
    windows_ = pixels_;
    auto spread = [&](long step) {  // to the neighbors before and after
      auto from = windows_;
      for (size_t at = step; at + step < from.size(); ++at) windows_[at] = from[at - step] | from[at] | from[at + step];
    };
    spread(row_), spread(1);
  }
  // Whether a pixel of the tile is nonzero in any channel.
  bool pixels(Tile tile) const { return any(pixels_, tile); }
  // Whether a pixel of the tile, or a neighbor of one, is nonzero.
  bool windows(Tile tile) const { return any(windows_, tile); }
  // Whether this pixel or a neighbor is nonzero.
  bool window(long r, long c) const { return windows_[(r + 1) * row_ + c + 1]; }

 private:
  long row_;
  std::vector<uint8_t> pixels_, windows_;  // with the border and the margin that tiles need

  template <int maps>
  static void fill(Shape s, const float* map, uint8_t* to) {
    for (long r = 0; r < s.rows + 2; ++r, to += kTile)
      for (long c = 0; c < s.columns + 2; ++c, map += maps) {
        uint32_t any = 0;
        E2E_UNROLL
        for (int v = 0; v < maps; v += kLanes) any |= not_zero(load(map + v));
        *to++ = any != 0;
      }
  }
  bool any(const std::vector<uint8_t>& of, Tile tile) const {
    uint32_t lines[kTile];
    for (int i = 0; i < kTile; ++i)
      std::memcpy(lines + i, &of[(tile.row + i + 1) * row_ + tile.column + 1], sizeof lines[i]);
    return lines[0] | lines[1] | lines[2] | lines[3];
  }
};

template <typename F>
void for_tiles(Shape s, F f) {
  for (long r = 0; r < s.rows; r += kTile)
    for (long c = 0; c < s.columns; c += kTile) f(Tile{r, c});
}

// Calls f(tiles, count) for strips of the selected tiles.
template <typename Wanted, typename F>
void for_strips(Shape s, Wanted wanted, F f) {
  Tile tiles[kStrip];
  int count = 0;
  for_tiles(s, [&](Tile tile) {
    if (!wanted(tile)) return;
    tiles[count++] = tile;
    if (count == kStrip) f(tiles, count), count = 0;
  });
  if (count) f(tiles, count);
}

// Writes the outputs of a tile; `make` computes the channels starting at v.
template <int maps, typename Make>
void write_tile(Shape s, const Occupancy& occupied, Tile tile, float* y, Finish finish, Make make) {
  for (long v = 0; v < maps; v += kLanes) {
    Vec made[kTile][kTile] = {};
    make(v, made);
    E2E_UNROLL
    for (int i = 0; i < kTile; ++i) {
      E2E_UNROLL
      for (int j = 0; j < kTile; ++j) {
        long r = tile.row + i, c = tile.column + j;
        if (r < s.rows && c < s.columns)
          finish.write(occupied.window(r, c) ? made[i][j] : Vec{}, y, s.at(r, c) + v, v);
      }
    }
  }
}

// y = finish(kernel * x) for a 3x3 kernel with equal numbers of input and output maps; `occupied` is that of x.
template <int maps>
void convolve_tiles(Shape s, const Occupancy& occupied, const float* x, float* y, const float* kernel, Finish finish) {
  // If all channels of a row are computed together, the whole row is read before it is written.
  constexpr bool kInPlace = group(maps) * kLanes == maps;
  alignas(64) Strip<maps> pixels, others;
  auto& products = kInPlace ? pixels : others;
  auto wanted = [&](Tile tile) { return occupied.windows(tile); };
  for_strips(s, wanted, [&](const Tile* tiles, int count) {
    transform_tiles<line_of_pixels, kWindow>(s, x, tiles, count, 1, pixels);
    for (int p = 0; p < kPlaces; ++p) {
      Tap tap{pixels[p][0], kernel + p * maps * maps};
      row<maps, maps>(&tap, 1, maps, products[p][0], maps, count, Finish{});
    }
    for (int n = 0; n < count; ++n)
      write_tile<maps>(s, occupied, tiles[n], y, finish, [&](long v, Vec made[kTile][kTile]) {
        Vec square[kWindow][kWindow];
        E2E_UNROLL
        for (int a = 0; a < kWindow; ++a) {
          E2E_UNROLL
          for (int b = 0; b < kWindow; ++b) square[a][b] = load(&products[kWindow * a + b][n][v]);
        }
        both_ways<line_of_outputs, kWindow, kTile>(square, made);
      });
  });
  for_tiles(s, [&](Tile tile) {
    if (!wanted(tile)) write_tile<maps>(s, occupied, tile, y, finish, [](long, Vec made[kTile][kTile]) {});
  });
}

// Adds [inputs, tiles] times [tiles, outputs] to sums [inputs, outputs].
template <int maps, int V, int I>
[[gnu::noinline]] void add_products(int tiles, const float (*pixels)[maps], const float (*gradients)[maps], float* sums) {
  for (int channel = 0; channel < maps; channel += V * kLanes)
    for (int first = 0; first < maps; first += I) {
      Vec sum[I][V];
      E2E_UNROLL
      for (int i = 0; i < I; ++i) {
        E2E_UNROLL
        for (int v = 0; v < V; ++v) sum[i][v] = load(sums + (first + i) * maps + channel + v * kLanes);
      }
      for (int t = 0; t < tiles; ++t) {
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

// A sum below this fraction of its terms' total is only rounding: some units in the last place of a float.
constexpr float kRounding = 1e-6f;

// A sum of numbers of a total `size`, or 0 if it is only rounding. For a zero gradient, Winograd's sums leave
// rounding errors, which Adam would turn into steps.
inline Vec above_rounding(Vec sum, Vec size) { return absolute(sum) <= kRounding * size ? Vec{} : sum; }

// Adds the gradient of a kernel [3, 3, maps, maps]; `occupied` is that of g, which has a zero border.
template <int maps>
void add_tiles_gradient(Shape s, const float* x, const Occupancy& occupied, const float* g, float* kernel) {
  constexpr int V = group(maps);
  alignas(64) Strip<maps> pixels, gradients;
  Array sums(kPlaces * maps * maps);
  for_strips(s, [&](Tile tile) { return occupied.pixels(tile); }, [&](const Tile* tiles, int count) {
    transform_tiles<line_of_pixels, kWindow>(s, x, tiles, count, 1, pixels);
    transform_tiles<line_of_gradients, kTile>(s, g, tiles, count, 0, gradients);
    for (int p = 0; p < kPlaces; ++p)
      add_products<maps, V, kInputs<V>>(count, pixels[p], gradients[p], sums.data() + p * maps * maps);
  });
  for (long i = 0; i < maps * maps; i += kLanes) {
    Vec square[kWindow][kWindow], made[3][3], sizes[3][3];
    for (int p = 0; p < kPlaces; ++p) square[p / kWindow][p % kWindow] = load(sums.data() + p * maps * maps + i);
    both_ways<line_of_sums, kWindow, 3>(square, made);
    for (auto& row : square)
      for (auto& sum : row) sum = absolute(sum);
    both_ways<line_of_sizes, kWindow, 3>(square, sizes);
    for (int k = 0; k < 9; ++k)
      add(kernel + k * maps * maps + i, above_rounding(made[k / 3][k % 3], sizes[k / 3][k % 3]));
  }
}

// y = finish(kernel * x); `kernel` is transformed.
void convolve_same(Shape s, const float* x, float* y, const float* kernel, Finish finish) {
  (s.maps == 16 ? convolve_tiles<16> : convolve_tiles<32>)(s, Occupancy(s, x), x, y, kernel, finish);
}

// The gradients of such a convolution of x, given the gradient g of its result. The kernel gradient is added to
// `of_kernel`, and finish(gradient of x) is written to `of_x`. `turned` is the kernel rotated and transformed.
void gradients_same(Shape s, const float* x, const float* g, const float* turned, float* of_kernel, float* of_x,
                    Finish finish) {
  Occupancy occupied(s, g);
  (s.maps == 16 ? add_tiles_gradient<16> : add_tiles_gradient<32>)(s, x, occupied, g, of_kernel);
  (s.maps == 16 ? convolve_tiles<16> : convolve_tiles<32>)(s, occupied, g, of_x, turned, finish);
}

}  // namespace
