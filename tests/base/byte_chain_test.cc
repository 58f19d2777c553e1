#include "server/base/byte_chain.h"

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace accrue {
namespace {

// A span's bytes with a count of its releases.
struct Source {
  std::string bytes;
  int releases = 0;

  void AppendTo(ByteChain& chain) {
    chain.Append(
        bytes.data(), static_cast<int64_t>(bytes.size()),
        {[](void* arg) { ++static_cast<Source*>(arg)->releases; }, this});
  }
};

std::vector<std::unique_ptr<Source>> Sources(const std::vector<int>& sizes) {
  std::vector<std::unique_ptr<Source>> sources;
  char next = 'a';
  for (const int size : sizes) {
    auto source = std::make_unique<Source>();
    for (int i = 0; i < size; ++i) {
      source->bytes += next;
      next = next == 'z' ? 'a' : static_cast<char>(next + 1);
    }
    sources.push_back(std::move(source));
  }
  return sources;
}

std::string Flat(const std::vector<std::unique_ptr<Source>>& sources) {
  std::string flat;
  for (const auto& source : sources) flat += source->bytes;
  return flat;
}

ByteChain Chain(const std::vector<std::unique_ptr<Source>>& sources) {
  ByteChain chain;
  for (const auto& source : sources) source->AppendTo(chain);
  return chain;
}

std::string Flat(const ByteChain& chain) {
  std::string flat;
  for (const ByteChain::Span& span : chain.spans()) {
    EXPECT_EQ(span.start, static_cast<int64_t>(flat.size()));
    EXPECT_GT(span.size, 0);
    flat.append(reinterpret_cast<const char*>(span.data),
                static_cast<size_t>(span.size));
  }
  EXPECT_EQ(chain.size_bytes(), static_cast<int64_t>(flat.size()));
  return flat;
}

std::string Read(ChainReader& reader, int64_t offset, int64_t size) {
  std::vector<std::byte> scratch(static_cast<size_t>(size));
  const std::byte* bytes = reader.Contiguous(offset, size, scratch.data());
  return std::string(reinterpret_cast<const char*>(bytes),
                     static_cast<size_t>(size));
}

const std::vector<int> kSizes = {1, 3, 15, 16, 17, 0, 1, 1, 40, 7};

TEST(ByteChainTest, AnEmptyChainHasNothing) {
  ByteChain chain;
  EXPECT_EQ(chain.size_bytes(), 0);
  EXPECT_EQ(chain.span_count(), 0);
  ByteChain prefix = chain.TakePrefix(0);
  EXPECT_EQ(prefix.size_bytes(), 0);
  ChainReader reader(chain);
  std::byte scratch;
  EXPECT_EQ(reader.Contiguous(0, 0, &scratch), &scratch);
}

TEST(ByteChainTest, KeepsBytesInOrderAndReleasesEachSpanOnce) {
  const auto sources = Sources(kSizes);
  {
    ByteChain chain = Chain(sources);
    EXPECT_EQ(Flat(chain), Flat(sources));
    EXPECT_EQ(chain.span_count(), 9);
    for (const auto& source : sources) {
      EXPECT_EQ(source->releases, source->bytes.empty() ? 1 : 0);
    }
  }
  for (const auto& source : sources) EXPECT_EQ(source->releases, 1);
}

TEST(ByteChainTest, ClearReleasesAndLeavesAUsableChain) {
  const auto sources = Sources({5, 6});
  ByteChain chain = Chain(sources);
  chain.Clear();
  EXPECT_EQ(chain.size_bytes(), 0);
  for (const auto& source : sources) EXPECT_EQ(source->releases, 1);
  sources[0]->AppendTo(chain);
  EXPECT_EQ(Flat(chain), sources[0]->bytes);
}

TEST(ByteChainTest, MovesCarryTheReleases) {
  const auto sources = Sources({5, 6});
  ByteChain chain = Chain(sources);
  ByteChain moved = std::move(chain);
  EXPECT_EQ(Flat(moved), Flat(sources));
  EXPECT_EQ(chain.size_bytes(), 0);  // NOLINT(bugprone-use-after-move)
  const auto others = Sources({2});
  ByteChain target = Chain(others);
  target = std::move(moved);
  EXPECT_EQ(others[0]->releases, 1);
  EXPECT_EQ(Flat(target), Flat(sources));
  for (const auto& source : sources) EXPECT_EQ(source->releases, 0);
}

TEST(ByteChainTest, SplicingMovesEverySpan) {
  const auto first = Sources({5, 6});
  const auto second = Sources({7, 0, 1});
  ByteChain chain = Chain(first);
  ByteChain other = Chain(second);
  chain.Append(std::move(other));
  EXPECT_EQ(other.span_count(), 0);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(Flat(chain), Flat(first) + Flat(second));
  chain.Clear();
  for (const auto& source : first) EXPECT_EQ(source->releases, 1);
  for (const auto& source : second) EXPECT_EQ(source->releases, 1);
}

TEST(ByteChainTest, APrefixOfAnyLengthTakesExactlyItsBytes) {
  const int64_t size = static_cast<int64_t>(Flat(Sources(kSizes)).size());
  for (int64_t n = 0; n <= size; ++n) {
    const auto sources = Sources(kSizes);
    const std::string flat = Flat(sources);
    ByteChain rest = Chain(sources);
    {
      ByteChain prefix = rest.TakePrefix(n);
      EXPECT_EQ(Flat(prefix), flat.substr(0, static_cast<size_t>(n)));
      EXPECT_EQ(Flat(rest), flat.substr(static_cast<size_t>(n)));
    }
    // The prefix is gone: a span is released unless some of it is in the rest.
    int64_t end = 0;
    for (const auto& source : sources) {
      end += static_cast<int64_t>(source->bytes.size());
      const bool gone = end <= n || source->bytes.empty();
      EXPECT_EQ(source->releases, gone ? 1 : 0) << n << " " << end;
    }
    rest.Clear();
    for (const auto& source : sources) EXPECT_EQ(source->releases, 1);
  }
}

TEST(ByteChainTest, ASpanCutManyTimesIsReleasedWithItsLastPiece) {
  const auto sources = Sources({10});
  ByteChain rest = Chain(sources);
  std::vector<ByteChain> pieces;
  std::string flat;
  for (int i = 0; i < 9; ++i) {
    pieces.push_back(rest.TakePrefix(1));
    flat += Flat(pieces.back());
  }
  EXPECT_EQ(flat + Flat(rest), Flat(sources));
  rest.Clear();
  for (int i = 0; i < 9; ++i) {
    EXPECT_EQ(sources[0]->releases, 0);
    pieces.pop_back();
  }
  EXPECT_EQ(sources[0]->releases, 1);
}

TEST(ByteChainTest, RemovePrefixReleasesWhatIsBehindIt) {
  const auto sources = Sources({4, 4});
  ByteChain chain = Chain(sources);
  chain.RemovePrefix(5);
  EXPECT_EQ(sources[0]->releases, 1);
  EXPECT_EQ(sources[1]->releases, 0);
  EXPECT_EQ(Flat(chain), Flat(sources).substr(5));
}

TEST(ByteChainTest, CopiesOutliveTheirSourceAndViewsPointAtIt) {
  std::string bytes = "gradient";
  ByteChain copy = ByteChain::CopyOf(bytes);
  ByteChain view = ByteChain::View(bytes.data(), 8);
  bytes[0] = 'G';
  EXPECT_EQ(Flat(copy), "gradient");
  EXPECT_EQ(Flat(view), "Gradient");
}

TEST(ChainReaderTest, ReadsWithinASpanWithoutACopy) {
  const auto sources = Sources({4, 6});
  const ByteChain chain = Chain(sources);
  ChainReader reader(chain);
  std::byte scratch[6];
  EXPECT_EQ(reader.Contiguous(4, 6, scratch),
            reinterpret_cast<const std::byte*>(sources[1]->bytes.data()));
  EXPECT_EQ(reader.Contiguous(3, 2, scratch), scratch);
}

TEST(ChainReaderTest, ARunEndsWithItsSpan) {
  const auto sources = Sources({4, 6});
  const ByteChain chain = Chain(sources);
  ChainReader reader(chain);
  for (int64_t offset = 9; offset >= 0; --offset) {
    EXPECT_EQ(reader.RunBytes(offset), offset < 4 ? 4 - offset : 10 - offset);
  }
}

TEST(ChainReaderTest, EveryRangeReadsAsOneArray) {
  const auto sources = Sources(kSizes);
  const std::string flat = Flat(sources);
  const ByteChain chain = Chain(sources);
  ChainReader reader(chain);
  for (size_t offset = 0; offset <= flat.size(); ++offset) {
    for (size_t size = 0; offset + size <= flat.size(); ++size) {
      EXPECT_EQ(Read(reader, static_cast<int64_t>(offset),
                     static_cast<int64_t>(size)),
                flat.substr(offset, size));
    }
  }
}

TEST(ChainReaderTest, RandomJumpsReadAsOneArray) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::vector<int> sizes(500);
  for (int& size : sizes) size = static_cast<int>(random() % 20);
  const auto sources = Sources(sizes);
  const std::string flat = Flat(sources);
  const ByteChain chain = Chain(sources);
  ChainReader reader(chain);
  for (int i = 0; i < 10000; ++i) {
    const size_t offset = random() % flat.size();
    const size_t size = std::min<size_t>(random() % 100, flat.size() - offset);
    ASSERT_EQ(
        Read(reader, static_cast<int64_t>(offset), static_cast<int64_t>(size)),
        flat.substr(offset, size));
  }
}

}  // namespace
}  // namespace accrue
