#include "tests/durability/unsynced_names.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"

namespace accrue {
namespace {

namespace fs = std::filesystem;

std::string ParentOf(const std::string& path) {
  return fs::path(path).parent_path().string();
}

// What can fail here is the test's machine; what does is seen in what it tests.
void Move(const std::string& from, const std::string& to) {
  std::error_code ignored;
  fs::rename(from, to, ignored);
}

bool IsFile(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

}  // namespace

// What is at `path` once the directory that it is in has been renamed.
std::string UnsyncedNames::PathAfter(const std::string& path,
                                     const Step& renamed) {
  if (ParentOf(path) != renamed.from) return path;
  return renamed.path + path.substr(renamed.from.size());
}

UnsyncedNames::UnsyncedNames(std::string shadow) : shadow_(std::move(shadow)) {
  fs::create_directories(shadow_);
  std::ifstream file(shadow_ + "/names");
  Step step;
  while (std::getline(file, step.directory) && std::getline(file, step.kind) &&
         std::getline(file, step.path) && std::getline(file, step.from) &&
         std::getline(file, step.kept)) {
    steps_.push_back(step);
  }
  for (const auto& entry : fs::directory_iterator(shadow_)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("kept-", 0) != 0) continue;
    next_kept_ = std::max<int64_t>(next_kept_, std::stoll(name.substr(5)) + 1);
  }
}

std::string UnsyncedNames::NewKept() {
  return absl::StrCat(shadow_, "/kept-", next_kept_++);
}

void UnsyncedNames::Note(Step step) {
  step.directory = ParentOf(step.path);
  if (step.kind != "made" && step.kept.empty() && IsFile(step.path)) {
    step.kept = NewKept();
    fs::create_hard_link(step.path, step.kept);
  }
  steps_.push_back(std::move(step));
  Write();
}

void UnsyncedNames::NoteMade(const std::string& path) {
  Note({.directory = {}, .kind = "made", .path = path, .from = {}, .kept = {}});
}

void UnsyncedNames::NoteRenamed(const std::string& from,
                                const std::string& path) {
  for (Step& step : steps_) {
    if (step.directory == from) step.directory = path;
  }
  Note({.directory = {},
        .kind = "renamed",
        .path = path,
        .from = from,
        .kept = {}});
}

void UnsyncedNames::NoteRemoved(const std::string& path) {
  Note({.directory = {},
        .kind = "removed",
        .path = path,
        .from = {},
        .kept = {}});
}

std::string UnsyncedNames::NoteDirectoryRemoved(const std::string& path) {
  std::string kept = NewKept();
  Note({.directory = {},
        .kind = "removed",
        .path = path,
        .from = {},
        .kept = kept});
  return kept;
}

void UnsyncedNames::Sync(const std::string& directory) {
  for (auto step = steps_.begin(); step != steps_.end(); ++step) {
    if (step->directory != directory || step->kind != "renamed") continue;
    std::for_each(steps_.begin(), step, [&](Step& older) {
      older.path = PathAfter(older.path, *step);
    });
  }
  std::vector<Step> rest;
  std::vector<std::string> done_with;
  for (Step& step : steps_) {
    if (step.directory != directory) {
      rest.push_back(std::move(step));
    } else if (!step.kept.empty()) {
      done_with.push_back(std::move(step.kept));
    }
  }
  steps_ = std::move(rest);
  Write();
  for (const std::string& kept : done_with) fs::remove_all(kept);
}

void UnsyncedNames::CutPower(std::mt19937_64& random) {
  std::map<std::string, int64_t> counts;
  for (const Step& step : steps_) ++counts[step.directory];
  for (auto& [directory, count] : counts) {
    count = std::uniform_int_distribution<int64_t>(0, count)(random);
  }
  // Directories that keep their new name, though what is older in them goes.
  std::vector<Step> renamed;
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    if (counts[step->directory]-- <= 0) {
      if (step->kind == "renamed") renamed.push_back(*step);
      continue;
    }
    for (auto later = renamed.rbegin(); later != renamed.rend(); ++later) {
      step->path = PathAfter(step->path, *later);
    }
    TakeBack(*step);
  }
  steps_.clear();
  Write();
}

void UnsyncedNames::TakeBack(const Step& step) {
  if (step.kind == "made") fs::remove_all(step.path);
  // It may not have come to the renaming.
  if (step.kind == "renamed" && !fs::exists(step.from)) {
    Move(step.path, step.from);
  }
  if (!step.kept.empty()) Move(step.kept, step.path);
}

// Whole and at once: the process may die in between.
void UnsyncedNames::Write() const {
  const std::string path = shadow_ + "/names";
  {
    std::ofstream file(path + ".new");
    for (const Step& step : steps_) {
      file << step.directory << '\n'
           << step.kind << '\n'
           << step.path << '\n'
           << step.from << '\n'
           << step.kept << '\n';
    }
  }
  fs::rename(path + ".new", path);
}

}  // namespace accrue
