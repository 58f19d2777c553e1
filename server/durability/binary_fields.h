// BinaryFields: structs that have VisitFields (fields.h), as bytes.
//
//   bool, enums                  a byte
//   integers, float, double      little-endian, of their size
//   std::string                  uint32 length, bytes
//   std::optional                a byte, 1 or 0, and the value if there is one
//   std::vector                  uint32 count, elements
//   std::map                     uint32 count, keys and values; keys ascend
//   a struct                     its fields, in order
//
// Invariant. what BinaryWriter wrote, BinaryReader reads back equal. A reader
//            takes no more memory than a small multiple of its bytes.
// Threading. compatible.
#ifndef ACCRUE_SERVER_DURABILITY_BINARY_FIELDS_H_
#define ACCRUE_SERVER_DURABILITY_BINARY_FIELDS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "server/durability/enum_names.h"
#include "server/durability/fields.h"
#include "server/durability/little_endian.h"

namespace accrue {

class BinaryWriter {
 public:
  template <typename T>
  void operator()(const char*, const T& value) {
    Write(value);
  }
  std::string Take() { return std::move(out_); }

 private:
  template <typename T>
  void Write(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      AppendLittle<uint8_t>(value ? 1 : 0, out_);
    } else if constexpr (std::is_enum_v<T>) {
      AppendLittle(static_cast<uint8_t>(value), out_);
    } else if constexpr (std::is_arithmetic_v<T>) {
      AppendLittle(value, out_);
    } else {
      VisitFields(*this, value);
    }
  }
  void Write(const std::string& value) {
    AppendLittle(static_cast<uint32_t>(value.size()), out_);
    out_ += value;
  }
  template <typename T>
  void Write(const std::optional<T>& value) {
    Write(value.has_value());
    if (value.has_value()) Write(*value);
  }
  template <typename T>
  void Write(const std::vector<T>& values) {
    AppendLittle(static_cast<uint32_t>(values.size()), out_);
    for (const T& value : values) Write(value);
  }
  template <typename K, typename T>
  void Write(const std::map<K, T>& values) {
    AppendLittle(static_cast<uint32_t>(values.size()), out_);
    for (const auto& [key, value] : values) {
      Write(key);
      Write(value);
    }
  }

  std::string out_;
};

class BinaryReader {
 public:
  // The bytes outlive it.
  explicit BinaryReader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  void operator()(const char* name, T& value) {
    if (wrong_.empty() && !Read(value)) wrong_ = name;
  }
  // The innermost field that could not be read; empty: all could, but not that
  // there is nothing behind the last.
  const std::string& wrong() const { return wrong_; }
  bool AtEnd() const { return bytes_.empty(); }

 private:
  template <typename T>
  bool Read(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      uint8_t byte = 0;
      if (!Read(byte) || byte > 1) return false;
      value = byte == 1;
      return true;
    } else if constexpr (std::is_enum_v<T>) {
      uint8_t byte = 0;
      if (!Read(byte) || byte >= EnumNames<T>.size()) return false;
      value = static_cast<T>(byte);
      return true;
    } else if constexpr (std::is_arithmetic_v<T>) {
      if (bytes_.size() < sizeof(T)) return false;
      value = LoadLittle<T>(bytes_.data());
      bytes_.remove_prefix(sizeof(T));
      return true;
    } else {
      VisitFields(*this, value);
      return wrong_.empty();
    }
  }
  bool Read(std::string& value) {
    uint32_t size = 0;
    if (!Read(size) || bytes_.size() < size) return false;
    value = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return true;
  }
  template <typename T>
  bool Read(std::optional<T>& value) {
    bool has = false;
    if (!Read(has)) return false;
    value.reset();
    return !has || Read(value.emplace());
  }
  // Every element has a byte at least.
  template <typename T>
  bool Read(std::vector<T>& values) {
    uint32_t count = 0;
    if (!Read(count) || bytes_.size() < count) return false;
    values.clear();
    for (uint32_t i = 0; i < count; ++i) {
      if (!Read(values.emplace_back())) return false;
    }
    return true;
  }
  template <typename K, typename T>
  bool Read(std::map<K, T>& values) {
    uint32_t count = 0;
    if (!Read(count) || bytes_.size() < count) return false;
    values.clear();
    for (uint32_t i = 0; i < count; ++i) {
      K key{};
      T value{};
      if (!Read(key) || !Read(value) ||
          (!values.empty() && !(values.rbegin()->first < key))) {
        return false;
      }
      values.emplace_hint(values.end(), std::move(key), std::move(value));
    }
    return true;
  }

  std::string_view bytes_;
  std::string wrong_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_BINARY_FIELDS_H_
