// Numbers as files have them: little-endian, at any alignment.
#ifndef ACCRUE_SERVER_DURABILITY_LITTLE_ENDIAN_H_
#define ACCRUE_SERVER_DURABILITY_LITTLE_ENDIAN_H_

#include <bit>
#include <cstring>
#include <string>
#include <type_traits>

namespace accrue {

static_assert(std::endian::native == std::endian::little);

template <typename T>
void AppendLittle(T value, std::string& out) {
  static_assert(std::is_arithmetic_v<T>);
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

template <typename T>
T LoadLittle(const void* bytes) {
  static_assert(std::is_arithmetic_v<T>);
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_LITTLE_ENDIAN_H_
