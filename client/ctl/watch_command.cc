// watch: a line for every new version, as it comes.

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/ctl/command.h"
#include "client/ctl/description_json.h"
#include "client/ctl/format.h"
#include "server/base/status_macros.h"

namespace accrue::ctl {
namespace {

struct WatchFlags {
  std::string model;
  int64_t count = 0;
  int64_t until_version = -1;
  std::string duration;
};

constexpr char kTitle[] =
    "TIME       VERSION        PUSHES        LOSS     CHANGED  GROUPS\n";

std::string NoticeLine(const client::Notice& notice, absl::Time now) {
  std::string line =
      absl::StrFormat("%s %9d %13s %11s %11s  %s",
                      absl::FormatTime("%H:%M:%S", now, absl::LocalTimeZone()),
                      notice.version.number, HumanCount(notice.folded_pushes),
                      notice.loss.has_value() ? HumanReal(*notice.loss) : "-",
                      HumanBytes(notice.changed_bytes),
                      absl::StrJoin(notice.changed_groups, ","));
  if (notice.missing_pushes > 0) {
    absl::StrAppend(&line, "  short: ", notice.missing_pushes, " missing");
  }
  return line + "\n";
}

// Prints notices until one of the limits is reached.
class Watch {
 public:
  Watch(const Context& context, const WatchFlags& flags, absl::Time end)
      : context_(context), flags_(flags), end_(end) {}

  absl::Status Run(client::Watcher watcher) {
    context_.PrintText(kTitle);
    while (!done_) {
      const absl::StatusOr<client::Notice> notice =
          watcher.Next(std::min(end_ - absl::Now(), absl::Minutes(1)));
      if (notice.ok()) {
        Show(*notice);
      } else if (!absl::IsDeadlineExceeded(notice.status())) {
        return notice.status();
      }
      done_ = done_ || absl::Now() >= end_;
    }
    return absl::OkStatus();
  }

 private:
  void Show(const client::Notice& notice) {
    if (!lineage_.empty() && lineage_ != notice.version.lineage) {
      context_.Note(absl::StrCat("the model's history was replaced: lineage ",
                                 notice.version.lineage));
    }
    lineage_ = notice.version.lineage;
    if (context_.json()) {
      // A line each, so that a program can read them as they come.
      context_.console().out << ToJson(notice).dump() << std::endl;
    }
    context_.PrintText(NoticeLine(notice, absl::Now()));
    ++shown_;
    done_ = (flags_.count > 0 && shown_ >= flags_.count) ||
            (flags_.until_version >= 0 &&
             notice.version.number >= flags_.until_version);
  }

  const Context& context_;
  const WatchFlags& flags_;
  const absl::Time end_;
  std::string lineage_;
  int64_t shown_ = 0;
  bool done_ = false;
};

absl::Status RunWatch(const Context& context, const WatchFlags& flags) {
  absl::Duration duration = absl::InfiniteDuration();
  if (!flags.duration.empty()) {
    ACCRUE_ASSIGN_OR_RETURN(duration,
                            ParseDurationFlag("--for", flags.duration));
  }
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model,
                          context.OpenModel(flags.model));
  return Watch(context, flags, absl::Now() + duration).Run(model.Watch());
}

}  // namespace

void AddWatchCommand(CLI::App& app, Command* chosen) {
  const auto flags = std::make_shared<WatchFlags>();
  CLI::App* watch = app.add_subcommand(
      "watch",
      "a line for every new version, as it comes: with --output json an object "
      "a line. A slow reader skips to the newest");
  watch->add_option("MODEL", flags->model)->required();
  watch->add_option("--count", flags->count, "end after this many lines")
      ->check(CLI::PositiveNumber);
  watch
      ->add_option("--until_version", flags->until_version,
                   "end at this version")
      ->check(CLI::NonNegativeNumber);
  watch->add_option("--for", flags->duration, "end after this time");
  watch->callback([=] {
    *chosen = [=](const Context& context) { return RunWatch(context, *flags); };
  });
}

}  // namespace accrue::ctl
