#include "tests/kernels/reference_pass.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace accrue::kernels {
namespace {

// Every element of a group: its index in the flat and in the group's vector.
template <class Visit>
void ForEachElement(const BlockMap& blocks, int32_t group, Visit visit) {
  for (const Block& block : blocks.blocks) {
    if (block.group != group) continue;
    for (int64_t i = 0; i < block.size; ++i) {
      visit(static_cast<size_t>(block.offset + i),
            static_cast<size_t>(block.group_offset + i));
    }
  }
}

void FoldMoments(float keep1, float gain1, float keep2, float gain2,
                 bool adaptive, float g, float& m, float& v) {
  const float kept1 = keep1 * m;
  const float gained1 = gain1 * g;
  m = kept1 + gained1;
  if (!adaptive) return;
  const float square = g * g;
  const float kept2 = keep2 * v;
  const float gained2 = gain2 * square;
  v = kept2 + gained2;
}

void AddDecay(float l2, float theta, float& x) {
  if (l2 == 0) return;
  const float decay = l2 * theta;
  x = x + decay;
}

void LookAhead(const GroupPass& group, size_t at, float m) {
  const float ahead = group.look_ahead->ahead * m;
  group.next[at] = group.theta[at] + ahead;
}

// Lion: what its step looks at, from the m before the last fold.
float Mix(const rule::UpdateScalars& update, float g, float m) {
  const float kept = update.mix_keep * m;
  const float gained = update.mix_gain * g;
  return kept + gained;
}

void FoldPushes(const BlockMap& blocks, const Pass& pass, int32_t index,
                const std::vector<std::vector<float>>& gradients,
                ReferenceState& state, std::vector<float>& mixed) {
  const GroupPass& group = pass.groups[static_cast<size_t>(index)];
  const bool adaptive = rule::HasSecondMoment(group.optimizer);
  const bool embedded = group.buffering == rule::Buffering::kEmbedded;
  for (size_t p = 0; p < group.pushes.size(); ++p) {
    const rule::PushScalars& push = group.pushes[p];
    const size_t payload =
        group.payloads.empty() ? p : static_cast<size_t>(group.payloads[p]);
    ForEachElement(blocks, index, [&](size_t flat, size_t at) {
      const float g = push.mult * gradients[payload][flat];
      if (!embedded) {
        const float term = push.weight * g;
        state.a[flat] = push.first ? term : state.a[flat] + term;
        return;
      }
      const bool around = p == 0 && group.look_ahead.has_value();
      if (around) LookAhead(group, at, state.m[flat]);
      if (group.update) mixed[flat] = Mix(*group.update, g, state.m[flat]);
      FoldMoments(push.keep1, push.gain1, push.keep2, push.gain2, adaptive, g,
                  state.m[flat], state.v[flat]);
      if (around) {
        AddDecay(group.look_ahead->l2, group.theta[at], state.m[flat]);
      }
    });
  }
}

// Fixed lanes by index inside blocks, as the interface promises.
double ClippedSquares(const BlockMap& blocks, const Pass& pass, int32_t index,
                      const ReferenceState& state) {
  const GroupPass& group = pass.groups[static_cast<size_t>(index)];
  double squares = 0;
  for (const Block& block : blocks.blocks) {
    if (block.group != index) continue;
    double lanes[16] = {};
    for (int64_t i = 0; i < block.size; ++i) {
      const auto flat = static_cast<size_t>(block.offset + i);
      const float x = group.buffering != rule::Buffering::kEmbedded
                          ? group.buffer_fold->mean * state.a[flat]
                          : state.m[flat];
      lanes[i % 16] += static_cast<double>(x) * static_cast<double>(x);
    }
    double sum = 0;
    for (const double lane : lanes) sum += lane;
    squares += sum;
  }
  return squares;
}

// In the same lanes as what is clipped.
double MomentumSquares(const BlockMap& blocks, int32_t index,
                       const ReferenceState& state) {
  double squares = 0;
  for (const Block& block : blocks.blocks) {
    if (block.group != index) continue;
    double lanes[16] = {};
    for (int64_t i = 0; i < block.size; ++i) {
      const double x = state.m[static_cast<size_t>(block.offset + i)];
      lanes[i % 16] += x * x;
    }
    double sum = 0;
    for (const double lane : lanes) sum += lane;
    squares += sum;
  }
  return squares;
}

// v/D2, corrected where that is asked for.
float VarianceHat(const rule::UpdateScalars& update, float m, float v) {
  const float v_hat = v * update.inv_mass2;
  const rule::Correction& correction = update.correction;
  if (correction.noise_share == 1) return v_hat;
  const float mean = m * correction.inv_weight;
  float square = mean * mean;
  if (!(square < v_hat)) square = v_hat;
  const float above = square - v_hat;
  const float noise = correction.noise_gain * above;
  float signal = square + noise;
  if (!(signal > 0)) signal = 0;
  const float rest = v_hat - signal;
  const float left = rest * correction.noise_share;
  return signal + left;
}

float Step(const GroupPass& group, float theta, float next, float m,
           float v_hat, float mixed) {
  const rule::UpdateScalars& update = *group.update;
  if (rule::StepsBySign(group.optimizer)) {
    const float c = update.mix_gain != 0 ? mixed : m;
    const float kept = theta * update.decay;
    if (c > 0) return kept - update.lr;
    if (c < 0) return kept + update.lr;
    return kept;
  }
  if (group.optimizer == rule::Optimizer::kSgd) {
    const float step = update.lr * m;
    return (group.nesterov ? next : theta) - step;
  }
  float denominator;
  if (group.epsilon_place == rule::EpsilonPlace::kOutside) {
    denominator = std::sqrt(v_hat);
    denominator = denominator + update.epsilon;
  } else {
    denominator = v_hat + update.epsilon;
    denominator = std::sqrt(denominator);
  }
  const float direction = m / denominator;
  if (group.optimizer == rule::Optimizer::kLamb) {
    float r = update.inv_mass1 * direction;
    AddDecay(update.weight_decay, theta, r);
    return r;
  }
  const float decayed = theta * update.decay;
  const float step = update.lr * direction;
  return decayed - step;
}

void Update(const BlockMap& blocks, const Pass& pass, int32_t index, float clip,
            ReferenceState& state, std::vector<float>& mixed) {
  const GroupPass& group = pass.groups[static_cast<size_t>(index)];
  const bool adaptive = rule::HasSecondMoment(group.optimizer);
  ForEachElement(blocks, index, [&](size_t flat, size_t at) {
    float& m = state.m[flat];
    float& v = state.v[flat];
    const float theta = group.theta[at];
    if (group.buffering != rule::Buffering::kEmbedded) {
      const rule::BufferFold& fold = *group.buffer_fold;
      float g = fold.mean * state.a[flat];
      g = clip * g;
      AddDecay(fold.grad_l2, theta, g);
      if (group.look_ahead) LookAhead(group, at, m);
      mixed[flat] = Mix(*group.update, g, m);
      FoldMoments(fold.keep1, fold.gain1, fold.keep2, fold.gain2, adaptive, g,
                  m, v);
      if (group.look_ahead) AddDecay(group.look_ahead->l2, theta, m);
    }
    const float v_hat = VarianceHat(*group.update, m, v);
    if (group.buffering == rule::Buffering::kEmbedded) m = clip * m;
    if (group.optimizer == rule::Optimizer::kSgd && !group.nesterov) {
      AddDecay(group.update->l2, theta, m);
    }
    group.next[at] = Step(group, theta, group.next[at], m, v_hat, mixed[flat]);
  });
}

// Lamb: `next` is the direction r, and becomes a step, tensor by tensor.
void StepByTrust(const BlockMap& blocks, const Pass& pass, int32_t index) {
  const GroupPass& group = pass.groups[static_cast<size_t>(index)];
  std::vector<double> thetas(static_cast<size_t>(blocks.tensor_count));
  std::vector<double> directions = thetas;
  const auto squares = [](const float* x, int64_t size) {
    double lanes[16] = {};
    for (int64_t i = 0; i < size; ++i) {
      lanes[i % 16] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
    double sum = 0;
    for (const double lane : lanes) sum += lane;
    return sum;
  };
  for (const Block& block : blocks.blocks) {
    if (block.group != index) continue;
    const auto tensor = static_cast<size_t>(block.tensor);
    thetas[tensor] += squares(group.theta + block.group_offset, block.size);
    directions[tensor] += squares(group.next + block.group_offset, block.size);
  }
  for (const Block& block : blocks.blocks) {
    if (block.group != index) continue;
    const double theta = std::sqrt(thetas[static_cast<size_t>(block.tensor)]);
    const double r = std::sqrt(directions[static_cast<size_t>(block.tensor)]);
    const bool known =
        std::isfinite(theta) && std::isfinite(r) && theta != 0 && r != 0;
    const double ratio = known ? theta / r : 1;
    const double largest = std::numeric_limits<float>::max();
    const auto rate =
        static_cast<float>(std::min(group.update->rate * ratio, largest));
    for (int64_t i = 0; i < block.size; ++i) {
      float& next = group.next[block.group_offset + i];
      const float step = rate * next;
      next = group.theta[block.group_offset + i] - step;
    }
  }
}

float HalfToFloat(uint16_t half, int exponent_bits, int fraction_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (half >> fraction_bits) & ((1 << exponent_bits) - 1);
  const int fraction = half & ((1 << fraction_bits) - 1);
  const float sign = (half & 0x8000) != 0 ? -1.0f : 1.0f;
  const float unit = std::ldexp(1.0f, -fraction_bits);
  if (exponent == (1 << exponent_bits) - 1) {
    return fraction == 0 ? sign * std::numeric_limits<float>::infinity()
                         : std::numeric_limits<float>::quiet_NaN();
  }
  const float significand =
      static_cast<float>(fraction) * unit + (exponent == 0 ? 0.0f : 1.0f);
  return sign * std::ldexp(significand, std::max(exponent, 1) - bias);
}

}  // namespace

ReferenceState MakeReferenceState(const BlockMap& blocks) {
  const std::vector<float> zeros(static_cast<size_t>(blocks.elems));
  return {zeros, zeros, zeros};
}

PassResult RunReference(const BlockMap& blocks, const Pass& pass,
                        ReferenceState& state) {
  std::vector<std::vector<float>> gradients;
  for (const PushPayload& push : pass.payloads) {
    gradients.push_back(DecodeReference(push, blocks.elems));
  }
  const auto groups = static_cast<int32_t>(pass.groups.size());
  PassResult result;
  result.clip_norms.resize(pass.groups.size());
  result.momentum_squares.resize(pass.groups.size());
  std::vector<double> squares(pass.groups.size());
  double model_squares = 0;
  std::vector<float> mixed(static_cast<size_t>(blocks.elems));
  for (int32_t g = 0; g < groups; ++g) {
    const GroupPass& group = pass.groups[static_cast<size_t>(g)];
    FoldPushes(blocks, pass, g, gradients, state, mixed);
    if (group.update && group.update->clip_norm > 0) {
      squares[static_cast<size_t>(g)] = ClippedSquares(blocks, pass, g, state);
      model_squares += squares[static_cast<size_t>(g)];
    }
  }
  for (int32_t g = 0; g < groups; ++g) {
    const GroupPass& group = pass.groups[static_cast<size_t>(g)];
    if (!group.update) continue;
    float clip = 1;
    if (group.update->clip_norm > 0) {
      double norm =
          std::sqrt(pass.clip_over_groups ? model_squares
                                          : squares[static_cast<size_t>(g)]);
      if (group.buffering == rule::Buffering::kEmbedded) {
        norm = norm * group.update->norm_factor;
      }
      result.clip_norms[static_cast<size_t>(g)] = norm;
      if (norm > group.update->clip_norm) {
        clip = static_cast<float>(group.update->clip_norm / norm);
      }
    }
    Update(blocks, pass, g, clip, state, mixed);
    if (group.measure) {
      result.momentum_squares[static_cast<size_t>(g)] =
          MomentumSquares(blocks, g, state);
    }
    if (group.optimizer == rule::Optimizer::kLamb) StepByTrust(blocks, pass, g);
  }
  return result;
}

std::vector<float> DecodeReference(const PushPayload& push, int64_t elems) {
  std::vector<std::byte> bytes;
  for (const ByteChain::Span& span : push.payload->spans()) {
    bytes.insert(bytes.end(), span.data, span.data + span.size);
  }
  std::vector<float> elements(static_cast<size_t>(elems));
  const std::byte* at = bytes.data();
  const auto next = [&at](auto value) {
    std::memcpy(&value, at, sizeof(value));
    at += sizeof(value);
    return value;
  };
  if (push.encoding == Encoding::kTopK) {
    while (at != bytes.data() + bytes.size()) {
      const uint32_t index = next(uint32_t{});
      elements[index] = next(float{});
    }
    return elements;
  }
  float scale = 0;
  for (size_t i = 0; i < elements.size(); ++i) {
    switch (push.encoding) {
      case Encoding::kF32:
        elements[i] = next(float{});
        break;
      case Encoding::kBf16:
        elements[i] = Bf16ToFloat(next(uint16_t{}));
        break;
      case Encoding::kF16:
        elements[i] = F16ToFloat(next(uint16_t{}));
        break;
      default:
        if (i % 1024 == 0) scale = next(float{});
        elements[i] = scale * static_cast<float>(next(int8_t{}));
    }
  }
  return elements;
}

float Bf16ToFloat(uint16_t half) { return HalfToFloat(half, 8, 7); }

float F16ToFloat(uint16_t half) { return HalfToFloat(half, 5, 10); }

}  // namespace accrue::kernels
