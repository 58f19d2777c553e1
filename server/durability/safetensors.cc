#include "server/durability/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "server/base/status_macros.h"
#include "server/durability/json_text.h"

namespace accrue {
namespace {

static_assert(std::endian::native == std::endian::little,
              "lengths and arrays are written as they lie in memory");

constexpr int64_t kLengthBytes = sizeof(uint64_t);
// As the reference implementation.
constexpr int64_t kLargestHeader = 100'000'000;
// A tensor has fourteen of them with the highest rank that a model's may have.
constexpr JsonLimits kHeaderLimits = {.max_depth = 3,
                                      .max_values = int64_t{1} << 22};

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("no safetensors file: ", what));
}

absl::Status WrongTensor(const std::string& name, absl::string_view what) {
  return Malformed(absl::StrCat("tensor \"", name, "\" ", what));
}

// Of one element; 0 for types that are not known.
int64_t TypeBytes(const std::string& dtype) {
  static constexpr std::pair<std::string_view, int64_t> kTypes[] = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
      {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
      {"U32", 4},  {"F32", 4}, {"F64", 8}, {"I64", 8},     {"U64", 8}};
  for (const auto& [name, bytes] : kTypes) {
    if (dtype == name) return bytes;
  }
  return 0;
}

// A list of whole numbers, none negative.
std::optional<std::vector<int64_t>> Counts(const Json& tensor,
                                           const char* key) {
  const auto list = tensor.find(key);
  if (list == tensor.end() || !list->is_array()) return std::nullopt;
  std::vector<int64_t> counts;
  for (const Json& element : *list) {
    if (!element.is_number_unsigned()) return std::nullopt;
    const auto count = element.get<uint64_t>();
    if (static_cast<int64_t>(count) < 0) return std::nullopt;
    counts.push_back(static_cast<int64_t>(count));
  }
  return counts;
}

// Into `tensor`, which has its type and shape. False: too large for any file.
bool Measure(StoredTensor& tensor) {
  tensor.elems = 1;
  for (const int64_t extent : tensor.shape) {
    if (__builtin_mul_overflow(tensor.elems, extent, &tensor.elems)) {
      return false;
    }
  }
  return !__builtin_mul_overflow(tensor.elems, TypeBytes(tensor.dtype),
                                 &tensor.size_bytes);
}

absl::StatusOr<StoredTensor> ParseTensor(const std::string& name,
                                         const Json& json, int64_t header_bytes,
                                         int64_t file_bytes) {
  const auto dtype = json.is_object() ? json.find("dtype") : json.end();
  if (!json.is_object() || dtype == json.end() || !dtype->is_string()) {
    return WrongTensor(name, "has no dtype");
  }
  StoredTensor tensor;
  tensor.dtype = dtype->get_ref<const std::string&>();
  if (TypeBytes(tensor.dtype) == 0) {
    return WrongTensor(
        name, absl::StrCat("is of the unknown dtype \"", tensor.dtype, "\""));
  }
  auto shape = Counts(json, "shape");
  const auto offsets = Counts(json, "data_offsets");
  if (!shape.has_value() || !offsets.has_value() || offsets->size() != 2 ||
      json.size() != 3) {
    return WrongTensor(name, "has not a shape and two data_offsets alone");
  }
  tensor.shape = *std::move(shape);
  const int64_t begin = (*offsets)[0];
  const int64_t end = (*offsets)[1];
  if (begin > end || end > file_bytes - header_bytes) {
    return WrongTensor(name,
                       absl::StrCat("lies at [", begin, ", ", end, ") of ",
                                    file_bytes - header_bytes, " bytes"));
  }
  if (!Measure(tensor) || tensor.size_bytes != end - begin) {
    return WrongTensor(name, absl::StrCat("of its dtype and shape has not ",
                                          end - begin, " bytes"));
  }
  tensor.offset = header_bytes + begin;
  return tensor;
}

absl::StatusOr<std::map<std::string, std::string>> ParseTexts(
    const Json& json) {
  if (!json.is_object()) return Malformed("__metadata__ is no object");
  std::map<std::string, std::string> texts;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      return Malformed(absl::StrCat("__metadata__ \"", key, "\" is no text"));
    }
    texts[key] = value.get_ref<const std::string&>();
  }
  return texts;
}

// The arrays fill the file's rest, one behind the other.
absl::Status CheckPlaces(const SafetensorsIndex& index, int64_t header_bytes,
                         int64_t file_bytes) {
  std::vector<const std::pair<const std::string, StoredTensor>*> by_place;
  for (const auto& named : index.tensors) by_place.push_back(&named);
  std::sort(by_place.begin(), by_place.end(), [](auto* a, auto* b) {
    return std::pair(a->second.offset, a->second.size_bytes) <
           std::pair(b->second.offset, b->second.size_bytes);
  });
  int64_t end = header_bytes;
  for (const auto* named : by_place) {
    if (named->second.offset != end) {
      return WrongTensor(named->first,
                         "does not begin where the one before it ends");
    }
    end += named->second.size_bytes;
  }
  if (end != file_bytes) {
    return Malformed(
        absl::StrCat(file_bytes - end, " bytes behind the last tensor"));
  }
  return absl::OkStatus();
}

// N, which the file has room for.
absl::StatusOr<int64_t> ParseLength(absl::string_view beginning,
                                    int64_t file_bytes) {
  if (beginning.size() < kLengthBytes) return Malformed("less than 8 bytes");
  uint64_t length = 0;
  std::memcpy(&length, beginning.data(), kLengthBytes);
  if (length > static_cast<uint64_t>(kLargestHeader) ||
      static_cast<int64_t>(length) > file_bytes - kLengthBytes) {
    return Malformed(absl::StrCat("a header of ", length,
                                  " bytes in a file of ", file_bytes));
  }
  return static_cast<int64_t>(length);
}

}  // namespace

std::string SafetensorsHeader(const std::vector<NamedShape>& tensors,
                              const std::map<std::string, std::string>& texts) {
  const auto quoted = [](const std::string& text) {
    return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  std::string header(kLengthBytes, '\0');
  absl::StrAppend(&header, "{\"", kSafetensorsMetadataKey, "\":{");
  const char* comma = "";
  for (const auto& [key, value] : texts) {
    absl::StrAppend(&header, comma, quoted(key), ":", quoted(value));
    comma = ",";
  }
  header += '}';
  int64_t begin = 0;
  for (const NamedShape& tensor : tensors) {
    int64_t end = sizeof(float);
    for (const int64_t extent : tensor.shape) end *= extent;
    end += begin;
    absl::StrAppend(&header, ",", quoted(tensor.name),
                    ":{\"dtype\":\"F32\",\"shape\":", Json(tensor.shape).dump(),
                    ",\"data_offsets\":[", begin, ",", end, "]}");
    begin = end;
  }
  header += '}';
  const int64_t unpadded = static_cast<int64_t>(header.size());
  header.append((kSafetensorsAlignment - unpadded % kSafetensorsAlignment) %
                    kSafetensorsAlignment,
                ' ');
  const uint64_t length = header.size() - kLengthBytes;
  std::memcpy(header.data(), &length, kLengthBytes);
  return header;
}

absl::StatusOr<SafetensorsIndex> ParseSafetensors(absl::string_view beginning,
                                                  int64_t file_bytes) {
  ACCRUE_ASSIGN_OR_RETURN(const int64_t length,
                          ParseLength(beginning, file_bytes));
  const absl::string_view text = beginning.substr(kLengthBytes, length);
  // No blank may come first: the reference says so.
  if (text.empty() || text[0] != '{') {
    return Malformed("its header is no JSON object");
  }
  absl::StatusOr<Json> json = ParseJson(text, kHeaderLimits);
  if (!json.ok()) return Malformed(json.status().message());
  const int64_t header_bytes = kLengthBytes + length;
  SafetensorsIndex index;
  for (const auto& [name, value] : json->items()) {
    if (name == kSafetensorsMetadataKey) {
      ACCRUE_ASSIGN_OR_RETURN(index.texts, ParseTexts(value));
      continue;
    }
    ACCRUE_ASSIGN_OR_RETURN(index.tensors[name],
                            ParseTensor(name, value, header_bytes, file_bytes));
  }
  ACCRUE_RETURN_IF_ERROR(CheckPlaces(index, header_bytes, file_bytes));
  return index;
}

absl::StatusOr<SafetensorsIndex> ReadSafetensors(const ReadableFile& file) {
  const auto read = [&](int64_t size) -> absl::StatusOr<std::string> {
    std::string bytes(std::min(size, file.size_bytes()), '\0');
    ACCRUE_RETURN_IF_ERROR(
        file.Read(0, absl::MakeSpan(reinterpret_cast<std::byte*>(bytes.data()),
                                    bytes.size())));
    return bytes;
  };
  ACCRUE_ASSIGN_OR_RETURN(const std::string beginning, read(kLengthBytes));
  ACCRUE_ASSIGN_OR_RETURN(const int64_t length,
                          ParseLength(beginning, file.size_bytes()));
  ACCRUE_ASSIGN_OR_RETURN(const std::string header,
                          read(kLengthBytes + length));
  return ParseSafetensors(header, file.size_bytes());
}

}  // namespace accrue
