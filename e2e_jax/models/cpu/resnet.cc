// ResNet-15 without its head on a CPU, forward and backward: the arithmetic of models/resnet.py.
//
// Each event is processed through the whole network before the next, so its maps stay in the core's cache.
// models/cpu/library.py compiles this file on first use; resnet_cpu.py binds it to JAX.

#include "stem.h"
#include "winograd.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

// The maps that forward stores for backward: the pooled map and each block's output; these and the outputs of the
// blocks' first convolutions; or none.
enum class Keep { kNothing, kOutputs, kAll };

// The network: the offsets of parameters and maps in the flat arrays.
struct Network {
  Stem stem;
  Shape narrow, wide;
  long blocks;  // at each width, not counting the one that changes the width

  Network(long rows, long columns, long channels, long wide_maps, long blocks)
      : stem{rows, columns, channels}, narrow(stem.pooled()), blocks(blocks) {
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
  long image() const { return stem.rows * stem.columns * stem.channels; }
  long winners() const { return narrow.rows * narrow.columns * narrow.maps; }  // of the pooling
  long parameters() const { return stem_size() + blocks * (narrow_block() + wide_block()) + downsample(); }
  long narrow_tiles() const { return 2 * kPlaces * narrow.maps * narrow.maps; }
  long wide_tiles() const { return 2 * kPlaces * wide.maps * wide.maps; }
  long tile_kernels() const { return blocks * (narrow_tiles() + wide_tiles()) + wide_tiles() / 2; }
  // Length of the stored maps, or of the additional work maps of forward.
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

// The transformed kernels of the 3x3 convolutions that preserve the size, in network order; `around`: rotated.
Array transform(const Network& net, const float* params, bool around) {
  long n = net.narrow.maps, w = net.wide.maps;
  Array all(net.tile_kernels());
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

// y1 = relu(conv1 x), y2 = relu(conv2 y1 + x); `tiles` are the transformed kernels.
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

// On input g is the gradient of y2, on output that of x; `h` and `other` are work maps. `tiles` are the kernels,
// rotated and transformed.
void block_backward(Shape s, const float* tiles, float* gradient, const float* x, const float* y1, const float* y2,
                    float*& g, float* h, float*& other) {
  Layer conv1(gradient, s.maps, s.maps, 3), conv2(gradient + Network::layer(s.maps, s.maps, 3), s.maps, s.maps, 3);
  through_relu(s, g, y2, conv2.bias);
  gradients_same(s, y1, g, tiles + kPlaces * s.maps * s.maps, conv2.kernel, h, Finish{});
  through_relu(s, h, y1, conv1.bias);
  gradients_same(s, x, h, tiles, conv1.kernel, other, {nullptr, g, false});
  std::swap(g, other);
}

// Work memory of a thread; the maps' borders stay zero.
struct Workspace {
  StemSpace stem;
  Array narrow, wide;
  explicit Workspace(const Network& net)
      : stem(net.stem), narrow(net.narrow.size()), wide(net.wide.size()) {}
};

// Stored maps are consecutive in memory. Other maps share buffers, which stay in the cache: if nothing is stored,
// a block's output replaces its input pixel by pixel.
void forward(const Network& net, const float* image, const float* params, const float* tiles, float* features,
             int32_t* where, float* maps, uint8_t* winner, Workspace& space, Keep keep) {
  Shape n = net.narrow, w = net.wide;
  bool all = keep == Keep::kAll;
  long of_block = all ? 2 : keep == Keep::kOutputs ? 1 : 0;
  long narrow_maps = 1 + of_block * net.blocks, wide_maps = std::max(1L, of_block * (1 + net.blocks));
  float *x = maps, *wide = maps + narrow_maps * n.size();
  for (long m = 0; m < narrow_maps; ++m) clear_border(n, maps + m * n.size());
  for (long m = 0; m < wide_maps; ++m) clear_border(w, wide + m * w.size());
  stem_forward(net.stem, image, params, params + net.stem.kernel_size(), space.stem, x, winner);
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

// The parameters for backward: original and rotated, each with the transformed kernels for tiles.
struct Kernels {
  const float* params;
  Array turned, tiles, turned_tiles;
};

// Maps of gradients, for backward.
struct Slopes {
  Array narrow[3], wide[3];
  explicit Slopes(const Network& net) {
    for (auto& map : narrow) map = Array(net.narrow.size());
    for (auto& map : wide) map = Array(net.wide.size());
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
  // The output of the first convolution of a block with input x.
  auto first = [&](Shape s, const float* x, Array& made) {
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
  gradients_same(w, y1, g, turned_tiles, conv2.kernel, h, Finish{});
  kernel_gradient(n, x, w, g, side.kernel, 1, 2);
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
  stem_backward(net.stem, image, of_x, winner, space.stem, gradient, gradient + net.stem.kernel_size());
}

// Each kernel [places, inputs, outputs] as [places, outputs, inputs], at the same offset in the flat array.
Array turn(const Network& net, const float* params) {
  Array all(net.parameters());
  float* turned = all.data();
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
  return all;
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

Network network(const Floats& images, int64_t wide, int64_t blocks) {
  auto size = images.dimensions();
  return Network(size[1], size[2], size[3], wide, blocks);
}

// The maps that a buffer [n, length] is for; false if its length fits none, or if the parameters do not match.
bool understood(const Network& net, long parameters, long length, Keep& keep) {
  keep = !length ? Keep::kNothing : length == net.activations(Keep::kAll) ? Keep::kAll : Keep::kOutputs;
  return parameters == net.parameters() && (!length || length == net.activations(keep));
}

ffi::Error misfit() {
  return ffi::Error(ffi::ErrorCode::kInvalidArgument, "the parameters or maps do not fit the network");
}

// images [n, rows, columns, channels] and flat parameters -> features [n, wide], and for the backward pass the
// pixel of each feature, the maps to store, and the indices of the pooling maxima; empty if nothing is stored.
ffi::Error Forward(Floats images, Floats params, FloatResult features, ffi::ResultBuffer<ffi::S32> where,
                   FloatResult maps, ffi::ResultBuffer<ffi::U8> winners, int64_t wide, int64_t blocks,
                   int64_t threads) {
  Network net = network(images, wide, blocks);
  Keep keep;
  if (!understood(net, params.element_count(), maps->dimensions()[1], keep)) return misfit();
  bool nothing = keep == Keep::kNothing;
  Array tiles = transform(net, params.typed_data(), false);
  split(images.dimensions()[0], threads, [&](long, long first, long last) {
    Workspace space(net);
    Array own_maps(nothing ? net.activations(keep) : 0);
    std::vector<uint8_t> own_winners(nothing ? net.winners() : 0);
    for (long e = first; e < last; ++e)
      forward(net, images.typed_data() + e * net.image(), params.typed_data(), tiles.data(),
              features->typed_data() + e * wide, where->typed_data() + e * wide,
              nothing ? own_maps.data() : maps->typed_data() + e * net.activations(keep),
              nothing ? own_winners.data() : winners->typed_data() + e * net.winners(), space, keep);
  });
  return ffi::Error::Success();
}

// The gradient of the flat parameters, given that of the features [n, wide]. Maps that were not stored are
// computed again when needed.
ffi::Error Backward(Floats images, Floats params, Floats of_features, ffi::Buffer<ffi::S32> where, Floats maps,
                    ffi::Buffer<ffi::U8> winners, FloatResult gradient, int64_t wide, int64_t blocks,
                    int64_t threads) {
  Network net = network(images, wide, blocks);
  Keep keep;
  if (!understood(net, params.element_count(), maps.dimensions()[1], keep) || keep == Keep::kNothing) return misfit();
  Kernels kernels{params.typed_data(), turn(net, params.typed_data()), transform(net, params.typed_data(), false), {}};
  kernels.turned_tiles = transform(net, kernels.turned.data(), true);
  std::vector<Array> parts(std::max<int64_t>(threads, 1));
  split(images.dimensions()[0], threads, [&](long thread, long first, long last) {
    parts[thread] = Array(net.parameters());
    Workspace space(net);
    Slopes slopes(net);
    for (long e = first; e < last; ++e)
      backward(net, images.typed_data() + e * net.image(), kernels, of_features.typed_data() + e * wide,
               where.typed_data() + e * wide, maps.typed_data() + e * net.activations(keep),
               winners.typed_data() + e * net.winners(), parts[thread].data(), space, slopes, keep);
  });
  std::fill_n(gradient->typed_data(), net.parameters(), 0.0f);
  for (auto& part : parts)  // fixed order, independent of the threads' timing
    for (size_t i = 0; i < part.size(); ++i) gradient->typed_data()[i] += part.data()[i];
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
                                  .Attr<int64_t>("wide")
                                  .Attr<int64_t>("blocks")
                                  .Attr<int64_t>("threads"));
