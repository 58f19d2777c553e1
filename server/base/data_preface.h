// The preface of a data connection: how a worker's plain connection, which
// carries payloads beside gRPC's, begins (proto/accrue/v1/worker_service.proto,
// PushHeader.data_connection).
//
//   worker   "ACCRUE DATA 1 " id "\r\n"    id: 32 hexadecimal digits
//   daemon   "ACCRUE OK\r\n"               it knows the id now
//   worker   for each push 8 bytes, the payload's number from 1 on,
//            little-endian, and the payload
//
// The number keeps what was sent for a push that its daemon never saw from
// being taken for the next one's.
//
// No HTTP/2 connection begins with an 'A': one byte tells the two apart. A
// daemon, or whatever else is in between, that does not speak this answers
// something else, hangs up or stays silent.
//
// Header-only, so that the SDK needs no library of the server's.

#ifndef ACCRUE_SERVER_BASE_DATA_PREFACE_H_
#define ACCRUE_SERVER_BASE_DATA_PREFACE_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace accrue {

inline constexpr absl::string_view kDataPrefaceStart = "ACCRUE DATA 1 ";
inline constexpr absl::string_view kDataPrefaceEnd = "\r\n";
inline constexpr absl::string_view kDataPrefaceAnswer = "ACCRUE OK\r\n";
inline constexpr size_t kDataConnectionIdSize = 32;
inline constexpr size_t kPayloadNumberSize = sizeof(int64_t);
inline constexpr size_t kDataPrefaceSize =
    kDataPrefaceStart.size() + kDataConnectionIdSize + kDataPrefaceEnd.size();

// Whether a connection that begins with this byte may be a data connection.
inline bool BeginsDataPreface(char first) {
  return first == kDataPrefaceStart.front();
}

inline bool IsDataConnectionId(absl::string_view id) {
  return id.size() == kDataConnectionIdSize &&
         std::all_of(id.begin(), id.end(), absl::ascii_isxdigit);
}

inline std::string MakeDataPreface(absl::string_view id) {
  return absl::StrCat(kDataPrefaceStart, id, kDataPrefaceEnd);
}

// The id of a whole preface; nullopt: it is none.
inline std::optional<std::string> ParseDataPreface(absl::string_view preface) {
  if (preface.size() != kDataPrefaceSize) return std::nullopt;
  const absl::string_view id =
      preface.substr(kDataPrefaceStart.size(), kDataConnectionIdSize);
  if (!IsDataConnectionId(id) || preface != MakeDataPreface(id)) {
    return std::nullopt;
  }
  return std::string(id);
}

inline std::string MakePayloadNumber(int64_t number) {
  std::string bytes(kPayloadNumberSize, '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(number & 0xff);
    number >>= 8;
  }
  return bytes;
}

// Of its eight bytes.
inline int64_t ParsePayloadNumber(absl::string_view bytes) {
  uint64_t number = 0;
  for (size_t i = kPayloadNumberSize; i > 0; --i) {
    number = number << 8 | static_cast<unsigned char>(bytes[i - 1]);
  }
  return static_cast<int64_t>(number);
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_BASE_DATA_PREFACE_H_
