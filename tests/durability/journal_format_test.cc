#include "server/durability/journal_format.h"

#include <cstdlib>
#include <fstream>
#include <regex>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/durability/file_bytes.h"
#include "tests/durability/journal_harness.h"
#include "tests/durability/memory_files.h"

namespace accrue {
namespace {

// A dump in the page: `00000040  01 02 ...`; what it leaves out is zero.
std::string BytesOfDump(const std::string& page, const std::string& name) {
  std::ifstream in(page);
  std::string line;
  while (std::getline(in, line) && line.find(name) == std::string::npos) {
  }
  const std::regex row(R"(^    ([0-9a-f]{8})((?:  ?[0-9a-f]{2})*))");
  std::string bytes;
  bool begun = false;
  while (std::getline(in, line)) {
    std::smatch match;
    if (!std::regex_search(line, match, row)) {
      if (begun && line.empty()) break;
      continue;
    }
    begun = true;
    bytes.resize(std::stoul(match[1], nullptr, 16));
    const std::string hex = match[2];
    const std::regex pair("[0-9a-f]{2}");
    for (std::sregex_iterator at(hex.begin(), hex.end(), pair), end; at != end;
         ++at) {
      bytes += static_cast<char>(std::stoi(at->str(), nullptr, 16));
    }
  }
  return bytes;
}

TEST(JournalFormatTest, ThePagesExampleIsWhatIsWritten) {
  MemoryFiles files;
  WorkPool pool(1);
  {
    Appender appender(*Journal::Open({.files = &files,
                                      .pool = &pool,
                                      .directory = "m",
                                      .id = "00112233445566778899aabbccddeeff",
                                      .next_lsn = 7}));
    ASSERT_TRUE(appender.AppendAndWait({3, "head", {"a payload"}}).ok());
  }
  const char* const source = std::getenv("ACCRUE_SOURCE_DIR");
  ASSERT_NE(source, nullptr);
  const std::string want =
      BytesOfDump(std::string(source) + "/server/durability/FORMAT.md",
                  "journal-00000000000000000007.log");
  const std::string got = *files.files.at("m/journal-00000000000000000007.log");
  EXPECT_EQ(got.size(), 4184U);
  if (got != want) {
    std::ofstream(testing::TempDir() + "journal_example") << got;
  }
  EXPECT_TRUE(got == want) << "the segment is in " << testing::TempDir()
                           << "journal_example";
}

TEST(JournalFormatTest, NamesAreNumbersOfTwentyDigits) {
  EXPECT_EQ(journal::SegmentName(17), "journal-00000000000000000017.log");
  EXPECT_EQ(journal::LsnOfName("journal-00000000000000000017.log"), 17);
  for (const char* name :
       {"journal-00000000000000000000.log", "journal-17.log",
        "journal-0000000000000000001x.log", "journal-+0000000000000000017.log",
        "journal-00000000000000000017.lo2", "journal-99999999999999999999.log",
        "journal.tmp", ""}) {
    EXPECT_FALSE(journal::LsnOfName(name).has_value()) << name;
  }
}

TEST(JournalFormatTest, AFrameIsWhatItWas) {
  const journal::Frame frame = {.type = 5,
                                .lsn = 1LL << 40,
                                .synced_bytes = 1LL << 41,
                                .payloads = {{3, 4}, {5, ~0ULL}},
                                .head = "head"};
  const std::string bytes = EncodeFrame(frame, 11);
  EXPECT_EQ(bytes.size() % 8, 0U);
  const auto start = journal::DecodeFrameStart(BytesOf(bytes), 11);
  ASSERT_TRUE(start.has_value());
  EXPECT_EQ(start->frame_bytes, std::ssize(bytes));
  EXPECT_EQ(start->lsn, 1LL << 40);
  EXPECT_EQ(start->synced_bytes, 1LL << 41);
  const auto back = journal::DecodeFrame(BytesOf(bytes), 11);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->type, 5U);
  EXPECT_EQ(back->lsn, 1LL << 40);
  EXPECT_EQ(back->synced_bytes, 1LL << 41);
  EXPECT_EQ(back->head, "head");
  ASSERT_EQ(back->payloads.size(), 2U);
  EXPECT_EQ(back->payloads[1].bytes, 5);
  EXPECT_EQ(back->payloads[1].hash, ~0ULL);
  // Another segment's.
  EXPECT_FALSE(journal::DecodeFrame(BytesOf(bytes), 12).has_value());
  EXPECT_FALSE(journal::DecodeFrameStart(BytesOf(bytes), 12).has_value());
}

TEST(JournalFormatTest, EachBitOfAFrameIsUnderAChecksum) {
  const journal::Frame frame = {.type = 5,
                                .lsn = 6,
                                .synced_bytes = 7,
                                .payloads = {{3, 4}},
                                .head = "h"};
  std::string bytes = EncodeFrame(frame, 11);
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    const auto flip = [&] {
      bytes[i / 8] = static_cast<char>(bytes[i / 8] ^ (1 << (i % 8)));
    };
    flip();
    EXPECT_FALSE(journal::DecodeFrame(BytesOf(bytes), 11).has_value()) << i;
    EXPECT_EQ(journal::DecodeFrameStart(BytesOf(bytes), 11).has_value(),
              i >= 8 * journal::kFixedFrameBytes)
        << i;
    flip();
  }
}

}  // namespace
}  // namespace accrue
