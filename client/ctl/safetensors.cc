#include "client/ctl/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "client/ctl/failure.h"
#include "nlohmann/json.hpp"
#include "server/base/status_macros.h"

namespace accrue::ctl {
namespace {

using Json = nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little,
              "headers and arrays are written as they lie in memory");

constexpr size_t kLengthBytes = sizeof(uint64_t);
constexpr size_t kAlignment = 8;
// As the reference implementation.
constexpr uint64_t kLargestHeader = 100'000'000;

absl::Status Malformed(absl::string_view what) {
  return FileError(absl::StrCat("no safetensors file: ", what));
}

// Bytes of one element; none for types that are not known.
std::optional<int64_t> TypeBytes(const std::string& dtype) {
  static const auto& sizes = *new std::map<std::string, int64_t>{
      {"BOOL", 1}, {"U8", 1},   {"I8", 1},  {"I16", 2}, {"U16", 2},
      {"F16", 2},  {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},
      {"F64", 8},  {"I64", 8},  {"U64", 8}};
  const auto found = sizes.find(dtype);
  if (found == sizes.end()) return std::nullopt;
  return found->second;
}

// A list of whole numbers, none negative.
bool ReadCounts(const Json& json, std::vector<int64_t>* counts) {
  if (!json.is_array()) return false;
  for (const Json& element : json) {
    if (!element.is_number_integer()) return false;
    // Also what is above int64's range, as it comes out negative.
    const auto count = element.get<int64_t>();
    if (count < 0) return false;
    counts->push_back(count);
  }
  return true;
}

// Bytes of an array of this shape; nothing if there cannot be so many.
std::optional<int64_t> ArrayBytes(const StoredTensor& tensor) {
  const auto element_bytes = TypeBytes(tensor.dtype);
  if (!element_bytes.has_value()) return std::nullopt;
  int64_t bytes = *element_bytes;
  for (const int64_t extent : tensor.shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes)) return std::nullopt;
  }
  return bytes;
}

absl::StatusOr<StoredTensor> ParseTensor(const std::string& name,
                                         const Json& json,
                                         absl::Span<const std::byte> data) {
  StoredTensor tensor;
  std::vector<int64_t> offsets;
  if (!json.is_object() || !json.contains("dtype") ||
      !json["dtype"].is_string() || !json.contains("shape") ||
      !ReadCounts(json["shape"], &tensor.shape) ||
      !json.contains("data_offsets") ||
      !ReadCounts(json["data_offsets"], &offsets) || offsets.size() != 2) {
    return Malformed(absl::StrCat("tensor \"", name,
                                  "\" lacks dtype, shape or data_offsets"));
  }
  tensor.dtype = json["dtype"].get<std::string>();
  const int64_t begin = offsets[0];
  const int64_t end = offsets[1];
  if (begin > end || end > static_cast<int64_t>(data.size())) {
    return Malformed(absl::StrCat("tensor \"", name, "\" lies at [", begin,
                                  ", ", end, ") of ", data.size(), " bytes"));
  }
  if (ArrayBytes(tensor) != end - begin) {
    return Malformed(absl::StrCat("tensor \"", name, "\" of type ",
                                  tensor.dtype, " and its shape has not ",
                                  end - begin, " bytes"));
  }
  tensor.bytes = data.subspan(begin, end - begin);
  return tensor;
}

absl::Status ParseMetadata(const Json& json,
                           std::map<std::string, std::string>* metadata) {
  if (!json.is_object()) return Malformed("__metadata__ is no object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      return Malformed(absl::StrCat("__metadata__ \"", key, "\" is no text"));
    }
    (*metadata)[key] = value.get<std::string>();
  }
  return absl::OkStatus();
}

}  // namespace

absl::string_view SafetensorsType(client::Encoding encoding) {
  switch (encoding) {
    case client::Encoding::kF32:
      return "F32";
    case client::Encoding::kBf16:
      return "BF16";
    case client::Encoding::kF16:
      return "F16";
    case client::Encoding::kInt8:
    case client::Encoding::kTopK:
      break;  // no parameters are sent in these
  }
  return "";
}

std::string SafetensorsHeader(const std::vector<client::TensorSpec>& tensors,
                              client::Encoding encoding,
                              const SafetensorsMetadata& metadata,
                              size_t size_bytes) {
  Json json = Json::object();
  if (!metadata.empty()) {
    Json& texts = json[kSafetensorsMetadataKey];
    for (const auto& [key, value] : metadata) texts[key] = value;
  }
  const absl::string_view type = SafetensorsType(encoding);
  int64_t begin = 0;
  for (const client::TensorSpec& tensor : tensors) {
    const int64_t end =
        begin + client::ElementCount(tensor) * client::ElementBytes(encoding);
    json[tensor.name] = {{"dtype", std::string(type.data(), type.size())},
                         {"shape", tensor.shape},
                         {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  size_t size = std::max(kLengthBytes + text.size(), size_bytes);
  size = (size + kAlignment - 1) / kAlignment * kAlignment;
  text.resize(size - kLengthBytes, ' ');
  const uint64_t length = text.size();
  std::string header(kLengthBytes, '\0');
  std::memcpy(header.data(), &length, kLengthBytes);
  return header + text;
}

absl::StatusOr<StoredTensors> ParseSafetensors(
    absl::Span<const std::byte> file) {
  uint64_t length = 0;
  if (file.size() < kLengthBytes) return Malformed("shorter than 8 bytes");
  std::memcpy(&length, file.data(), kLengthBytes);
  if (length > kLargestHeader || length > file.size() - kLengthBytes) {
    return Malformed(absl::StrCat("a header of ", length,
                                  " bytes in a file of ", file.size()));
  }
  const auto* text = reinterpret_cast<const char*>(file.data()) + kLengthBytes;
  const Json json = Json::parse(text, text + length, nullptr,
                                /*allow_exceptions=*/false);
  if (!json.is_object()) return Malformed("its header is no JSON object");
  const auto data = file.subspan(kLengthBytes + length);
  StoredTensors stored;
  for (const auto& [name, value] : json.items()) {
    if (name == kSafetensorsMetadataKey) {
      ACCRUE_RETURN_IF_ERROR(ParseMetadata(value, &stored.metadata));
      continue;
    }
    ACCRUE_ASSIGN_OR_RETURN(stored.tensors[name],
                            ParseTensor(name, value, data));
  }
  return stored;
}

}  // namespace accrue::ctl
