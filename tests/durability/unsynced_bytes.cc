#include "tests/durability/unsynced_bytes.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sys/stat.h>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace accrue {
namespace {

namespace fs = std::filesystem;

// undo: the size that is durable; then, in the order in which they were
// changed, sectors as they were before: their number, their bytes' count, those
// bytes.
struct Undo {
  int64_t durable_bytes = 0;
  std::map<int64_t, std::vector<std::string>> sectors;
};

void PutNumber(std::ostream& out, int64_t number) {
  out.write(reinterpret_cast<const char*>(&number), sizeof(number));
}

bool GetNumber(std::istream& in, int64_t& number) {
  return bool{in.read(reinterpret_cast<char*>(&number), sizeof(number))};
}

Undo ReadUndo(const std::string& path) {
  Undo undo;
  std::ifstream in(path, std::ios::binary);
  GetNumber(in, undo.durable_bytes);
  int64_t sector = 0;
  int64_t size = 0;
  while (GetNumber(in, sector) && GetNumber(in, size)) {
    std::string bytes(static_cast<size_t>(size), '\0');
    // The process may have died in here: then the file is not changed yet.
    if (!in.read(bytes.data(), size)) break;
    undo.sectors[sector].push_back(std::move(bytes));
  }
  return undo;
}

std::string ReadAt(std::istream& in, int64_t offset, int64_t size) {
  std::string bytes(static_cast<size_t>(size), '\0');
  in.clear();
  in.seekg(offset);
  in.read(bytes.data(), size);
  bytes.resize(static_cast<size_t>(in.gcount()));
  return bytes;
}

// Which of the contents that a sector has had, the oldest first, it has.
using Choice = std::function<size_t(size_t count)>;

void Settle(const std::string& live, const Undo& undo, int64_t size,
            const Choice& choose) {
  const auto live_bytes = static_cast<int64_t>(fs::file_size(live));
  std::fstream file(live, std::ios::binary | std::ios::in | std::ios::out);
  std::map<int64_t, std::string> chosen;
  auto settle = [&](int64_t sector) {
    const int64_t begin = sector * kSectorBytes;
    const std::string now = ReadAt(file, begin, kSectorBytes);
    std::vector<std::string> contents;
    const auto old = undo.sectors.find(sector);
    if (old != undo.sectors.end()) contents = old->second;
    if (begin < live_bytes) contents.push_back(now);
    // What the file had grown from is older than the growth.
    const auto durable = static_cast<size_t>(
        std::clamp<int64_t>(undo.durable_bytes - begin, 0, kSectorBytes));
    if (contents.front().size() > durable) {
      contents.insert(contents.begin(), contents.front().substr(0, durable));
    }
    std::string content = contents[choose(contents.size())];
    content.resize(kSectorBytes, '\0');
    chosen[sector] = std::move(content);
  };
  for (const auto& [sector, contents] : undo.sectors) settle(sector);
  for (int64_t sector = undo.durable_bytes / kSectorBytes;
       sector * kSectorBytes < std::max(size, live_bytes); ++sector) {
    if (!undo.sectors.contains(sector)) settle(sector);
  }
  file.clear();
  for (const auto& [sector, content] : chosen) {
    file.seekp(sector * kSectorBytes);
    file.write(content.data(), kSectorBytes);
  }
  file.close();
  fs::resize_file(live, static_cast<uintmax_t>(size));
}

size_t Oldest(size_t) { return 0; }

// All, none, or each sector as it comes; the file as large as it was, as it
// became, or in between.
void Decide(const std::string& live, const std::string& undo_path,
            std::mt19937_64& random) {
  auto draw = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  const Undo undo = ReadUndo(undo_path);
  const auto live_bytes = static_cast<int64_t>(fs::file_size(live));
  const auto [least, most] = std::minmax(undo.durable_bytes, live_bytes);
  const int64_t sizes[] = {undo.durable_bytes, live_bytes, draw(least, most)};
  const int64_t manner = draw(0, 3);
  Settle(live, undo, sizes[draw(0, 2)], [&](size_t count) {
    const auto newest = static_cast<int64_t>(count) - 1;
    if (manner == 0) return size_t{0};
    // Most of a long write gets through.
    if (manner == 1 && draw(0, 15) > 0) return count - 1;
    if (manner == 2) return count - 1;
    return static_cast<size_t>(draw(0, newest));
  });
}

std::vector<std::string> LiveFiles(const std::string& shadow) {
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator(shadow)) {
    if (entry.path().extension() != ".live") continue;
    paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string UndoOf(const std::string& live) {
  return live.substr(0, live.size() - 5) + ".undo";
}

std::string InodeOf(const std::string& path) {
  struct stat facts = {};
  ::stat(path.c_str(), &facts);
  return std::to_string(facts.st_ino);
}

}  // namespace

UnsyncedBytes::UnsyncedBytes(const std::string& shadow, const std::string& path)
    : undo_(absl::StrCat(shadow, "/", InodeOf(path), ".undo")),
      live_(absl::StrCat(shadow, "/", InodeOf(path), ".live")) {
  if (!fs::exists(live_)) fs::create_hard_link(path, live_);
}

UnsyncedBytes::~UnsyncedBytes() {
  // Others may have the file open, as long as it has a name of its own.
  std::error_code ignored;
  if (fs::exists(undo_) || fs::hard_link_count(live_, ignored) != 1) return;
  fs::remove(live_, ignored);
}

void UnsyncedBytes::Begin() {
  if (fs::exists(undo_)) return;
  std::ofstream out(undo_ + ".new", std::ios::binary);
  PutNumber(out, static_cast<int64_t>(fs::file_size(live_)));
  out.close();
  fs::rename(undo_ + ".new", undo_);
}

void UnsyncedBytes::NoteGrowth() { Begin(); }

void UnsyncedBytes::NoteChange(int64_t offset, int64_t count) {
  Begin();
  std::ifstream live(live_, std::ios::binary);
  std::ofstream out(undo_, std::ios::binary | std::ios::app);
  for (int64_t sector = offset / kSectorBytes;
       sector * kSectorBytes < offset + count; ++sector) {
    const std::string bytes = ReadAt(live, sector * kSectorBytes, kSectorBytes);
    PutNumber(out, sector);
    PutNumber(out, static_cast<int64_t>(bytes.size()));
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
}

void UnsyncedBytes::Sync() { fs::remove(undo_); }

void UnsyncedBytes::Lose() {
  if (!fs::exists(undo_)) return;
  const Undo undo = ReadUndo(undo_);
  const auto size = static_cast<int64_t>(fs::file_size(live_));
  Settle(live_, undo, std::max(size, undo.durable_bytes), Oldest);
  Sync();
}

void UnsyncedBytes::CutPower(const std::string& shadow,
                             std::mt19937_64& random) {
  for (const std::string& live : LiveFiles(shadow)) {
    const std::string undo = UndoOf(live);
    if (!fs::exists(undo)) continue;
    Decide(live, undo, random);
    fs::remove(undo);
  }
  Sweep(shadow);
}

void UnsyncedBytes::Sweep(const std::string& shadow) {
  for (const std::string& live : LiveFiles(shadow)) {
    if (!fs::exists(UndoOf(live))) fs::remove(live);
  }
}

}  // namespace accrue
