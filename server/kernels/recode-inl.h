// Decoding and encoding one element of a GPU's launch.
//
// Included inside a backend's own namespace, after bits-inl.h and
// conversion-inl.h, with device_work.h and <cstring> visible.
//
// Memory.   payloads begin at any byte: they are read byte by byte.
// Numerics. bit_exact_cpu_gpu.

template <class T>
ACCRUE_ELEMENT T ReadBytes(const std::byte* at) {
  T value;
  memcpy(&value, at, sizeof(value));
  return value;
}

ACCRUE_ELEMENT void DecodeScaled(const DecodeLaunch& launch, int64_t i) {
  constexpr int64_t kBytes = kScaleBytes + kScaledElems;
  const int64_t element = launch.begin % kScaledElems + i;
  const std::byte* const block = launch.raw + element / kScaledElems * kBytes;
  const auto scale = ReadBytes<float>(block);
  const auto value =
      ReadBytes<int8_t>(block + kScaleBytes + element % kScaledElems);
  launch.out[i] = scale * static_cast<float>(value);
}

ACCRUE_ELEMENT void DecodePair(const DecodeLaunch& launch, int64_t i) {
  const std::byte* const pair = launch.raw + i * kPairBytes;
  const int64_t place = ReadBytes<uint32_t>(pair) - launch.begin;
  if (place < 0 || place >= launch.count) return;
  launch.out[place] = ReadBytes<float>(pair + sizeof(uint32_t));
}

// Item i of DecodeItems(launch).
ACCRUE_ELEMENT void DecodeItem(const DecodeLaunch& launch, int64_t i) {
  if (launch.encoding == Encoding::kInt8) return DecodeScaled(launch, i);
  if (launch.encoding == Encoding::kTopK) return DecodePair(launch, i);
  const uint32_t half =
      ReadBytes<uint16_t>(launch.raw + i * int64_t{sizeof(uint16_t)});
  launch.out[i] =
      FloatOf(launch.encoding == Encoding::kBf16 ? WidenFromBf16(half)
                                                 : WidenFromF16(half));
}

ACCRUE_ELEMENT void EncodeItem(const EncodeLaunch& launch, int64_t i) {
  const uint32_t bits = BitsOf(launch.in[i]);
  launch.out[i] = static_cast<uint16_t>(launch.encoding == Encoding::kBf16
                                            ? NarrowToBf16(bits)
                                            : NarrowToF16(bits));
}
