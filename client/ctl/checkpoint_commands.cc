// checkpoint, checkpoints, restore.

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/ctl/command.h"
#include "client/ctl/description_json.h"
#include "client/ctl/description_text.h"
#include "server/base/status_macros.h"

namespace accrue::ctl {
namespace {

struct RestoreFlags {
  std::string model;
  std::string checkpoint;
};

absl::Status Checkpoint(const Context& context, const std::string& name) {
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model, context.OpenModel(name));
  ACCRUE_ASSIGN_OR_RETURN(const auto checkpoint, model.Checkpoint());
  if (context.json()) context.PrintJson(ToJson(checkpoint));
  context.PrintText(CheckpointsText({checkpoint}, absl::Now()));
  return absl::OkStatus();
}

// Of a damaged model, too, which cannot be opened.
absl::Status Checkpoints(const Context& context, const std::string& name) {
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client, context.Connect());
  ACCRUE_ASSIGN_OR_RETURN(const auto checkpoints, client.ListCheckpoints(name));
  if (context.json()) {
    Json list = Json::array();
    for (const auto& checkpoint : checkpoints) {
      list.push_back(ToJson(checkpoint));
    }
    context.PrintJson(list);
  }
  context.PrintText(CheckpointsText(checkpoints, absl::Now()));
  return absl::OkStatus();
}

absl::Status Restore(const Context& context, const RestoreFlags& flags) {
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client, context.Connect());
  ACCRUE_ASSIGN_OR_RETURN(const auto description,
                          client.Restore(flags.model, flags.checkpoint));
  if (context.json()) context.PrintJson(ToJson(description));
  context.PrintText(ModelsText({description}));
  context.Note(
      "a new lineage: what was pushed since is gone, and gradients of the old "
      "one are refused");
  return absl::OkStatus();
}

}  // namespace

void AddCheckpointCommands(CLI::App& app, Command* chosen) {
  const auto model = std::make_shared<std::string>();
  CLI::App* checkpoint = app.add_subcommand(
      "checkpoint",
      "writes a model's state to the daemon's disk while it trains on");
  checkpoint->add_option("MODEL", *model)->required();
  checkpoint->callback([=] {
    *chosen = [=](const Context& context) {
      return Checkpoint(context, *model);
    };
  });

  CLI::App* checkpoints =
      app.add_subcommand("checkpoints", "a model's checkpoints, newest first");
  checkpoints->add_option("MODEL", *model)->required();
  checkpoints->callback([=] {
    *chosen = [=](const Context& context) {
      return Checkpoints(context, *model);
    };
  });

  const auto flags = std::make_shared<RestoreFlags>();
  CLI::App* restore = app.add_subcommand(
      "restore",
      "takes a model back to a checkpoint; poisoned and damaged ones, too");
  restore->add_option("MODEL", flags->model)->required();
  restore->add_option("CHECKPOINT", flags->checkpoint, "default: the newest");
  restore->callback([=] {
    *chosen = [=](const Context& context) { return Restore(context, *flags); };
  });
}

}  // namespace accrue::ctl
