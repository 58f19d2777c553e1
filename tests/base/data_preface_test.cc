#include "server/base/data_preface.h"

#include <string>

#include "gtest/gtest.h"

namespace accrue {
namespace {

constexpr char kId[] = "0123456789abcdefABCDEF0123456789";

TEST(DataPrefaceTest, IsWhatTheApiSaysAndGivesItsIdBack) {
  const std::string preface = MakeDataPreface(kId);
  EXPECT_EQ(preface, "ACCRUE DATA 1 0123456789abcdefABCDEF0123456789\r\n");
  EXPECT_EQ(preface.size(), 48u);
  EXPECT_EQ(kDataPrefaceSize, 48u);
  EXPECT_EQ(ParseDataPreface(preface), kId);
}

TEST(DataPrefaceTest, AnyOtherLengthIsNone) {
  const std::string preface = MakeDataPreface(kId);
  for (size_t size = 0; size < preface.size(); ++size) {
    EXPECT_FALSE(ParseDataPreface(preface.substr(0, size)).has_value());
  }
  EXPECT_FALSE(ParseDataPreface(preface + "\n").has_value());
  // An id that is too short or too long, the rest as it should be.
  EXPECT_FALSE(ParseDataPreface(MakeDataPreface("0123")).has_value());
  EXPECT_FALSE(
      ParseDataPreface(MakeDataPreface(std::string(33, '0'))).has_value());
}

TEST(DataPrefaceTest, EveryByteCounts) {
  const std::string preface = MakeDataPreface(kId);
  for (size_t i = 0; i < preface.size(); ++i) {
    std::string other = preface;
    other[i] = '~';
    EXPECT_FALSE(ParseDataPreface(other).has_value()) << other;
  }
  // Another protocol's number, other ends of a line.
  std::string other = preface;
  other[kDataPrefaceStart.size() - 2] = '2';
  EXPECT_FALSE(ParseDataPreface(other).has_value());
  other = preface;
  other.replace(other.size() - 2, 2, "\n\r");
  EXPECT_FALSE(ParseDataPreface(other).has_value());
}

TEST(DataPrefaceTest, AnIdIs32HexadecimalDigits) {
  EXPECT_TRUE(IsDataConnectionId(kId));
  EXPECT_FALSE(IsDataConnectionId(""));
  EXPECT_FALSE(IsDataConnectionId(std::string(31, 'a')));
  EXPECT_FALSE(IsDataConnectionId(std::string(33, 'a')));
  for (const char none : {'g', 'G', ' ', '-', '\0', '\n', '\xff'}) {
    EXPECT_FALSE(IsDataConnectionId(std::string(31, 'a') + none));
  }
}

TEST(DataPrefaceTest, TheFirstByteTellsItFromHttp2) {
  EXPECT_TRUE(BeginsDataPreface(MakeDataPreface(kId)[0]));
  EXPECT_FALSE(BeginsDataPreface(std::string("PRI * HTTP/2.0")[0]));
}

TEST(DataPrefaceTest, APayloadsNumberIsLittleEndian) {
  EXPECT_EQ(MakePayloadNumber(1), std::string("\1\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(MakePayloadNumber(0x0102), std::string("\2\1\0\0\0\0\0\0", 8));
  for (const int64_t number :
       {int64_t{0}, int64_t{255}, INT64_MIN, INT64_MAX}) {
    EXPECT_EQ(ParsePayloadNumber(MakePayloadNumber(number)), number);
  }
}

}  // namespace
}  // namespace accrue
