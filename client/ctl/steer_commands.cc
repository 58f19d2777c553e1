// update, end-cycle, delete.

#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/ctl/command.h"
#include "client/ctl/description_json.h"
#include "client/ctl/description_text.h"
#include "client/ctl/failure.h"
#include "client/ctl/spec_file.h"
#include "server/base/status_macros.h"

namespace accrue::ctl {
namespace {

struct UpdateFlags {
  std::string model;
  client::GroupUpdate update;
  std::string schedule;
};

struct DeleteFlags {
  std::string model;
  bool yes = false;
};

bool SaysNothing(const client::Hyperparameters& changes) {
  return !changes.learning_rate && !changes.beta1 && !changes.beta2 &&
         !changes.epsilon && !changes.dampening && !changes.weight_decay &&
         !changes.clip_norm && !changes.clip_push_norm && !changes.schedule;
}

absl::Status Update(const Context& context, const UpdateFlags& flags) {
  client::GroupUpdate update = flags.update;
  if (!flags.schedule.empty()) {
    ACCRUE_ASSIGN_OR_RETURN(update.hyperparameters.schedule,
                            ParseSchedule(flags.schedule));
  }
  if (SaysNothing(update.hyperparameters)) {
    return UsageError("update: nothing to change; see accruectl update --help");
  }
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model,
                          context.OpenModel(flags.model));
  ACCRUE_ASSIGN_OR_RETURN(const auto description,
                          model.UpdateHyperparameters({update}));
  if (context.json()) context.PrintJson(ToJson(description));
  context.PrintText(GroupsText(description));
  context.Note("in force from each group's next cycle on");
  return absl::OkStatus();
}

// Of whatever version: where cycles end by themselves faster than a request
// travels, a version that was looked up would have passed. The SDK repeats such
// a request only where it knows that the first one closed nothing.
absl::Status EndCycle(const Context& context, const std::string& name) {
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model, context.OpenModel(name));
  ACCRUE_ASSIGN_OR_RETURN(const auto result, model.EndCycle(std::nullopt));
  if (context.json()) {
    context.PrintJson({{"version", ToJson(result.version)},
                       {"closed_groups", result.closed_groups},
                       {"missing_pushes", result.missing_pushes}});
  }
  if (result.closed_groups.empty()) context.PrintText("no cycle was open\n");
  for (size_t i = 0; i < result.closed_groups.size(); ++i) {
    context.PrintText(absl::StrCat("closed ", result.closed_groups[i], ", ",
                                   result.missing_pushes[i],
                                   " pushes missing\n"));
  }
  context.PrintText(absl::StrCat("version ", result.version.number, "\n"));
  return absl::OkStatus();
}

absl::Status Confirm(const Context& context, const std::string& model) {
  const Console& console = context.console();
  if (!console.in_is_terminal) {
    return UsageError("delete: nobody can be asked here; say --yes");
  }
  console.err << "Delete model \"" << model
              << "\" with its parameters and sessions? [y/N] " << std::flush;
  std::string answer;
  std::getline(console.in, answer);
  if (answer == "y" || answer == "Y" || answer == "yes") {
    return absl::OkStatus();
  }
  return DeclinedError(absl::StrCat("model \"", model, "\" was not deleted"));
}

absl::Status Delete(const Context& context, const DeleteFlags& flags) {
  // Not described before: one that is damaged, left out, or half deleted cannot
  // be.
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client, context.Connect());
  if (!flags.yes) ACCRUE_RETURN_IF_ERROR(Confirm(context, flags.model));
  ACCRUE_RETURN_IF_ERROR(client.DeleteModel(flags.model));
  if (context.json()) context.PrintJson({{"deleted", flags.model}});
  context.PrintText(absl::StrCat("deleted ", flags.model, "\n"));
  return absl::OkStatus();
}

void AddUpdate(CLI::App& app, Command* chosen) {
  const auto flags = std::make_shared<UpdateFlags>();
  client::Hyperparameters& changes = flags->update.hyperparameters;
  CLI::App* update = app.add_subcommand(
      "update",
      "changes hyperparameters, from each group's next cycle on; what is not "
      "named stays");
  update->add_option("MODEL", flags->model)->required();
  update->add_option("--group", flags->update.group,
                     "this group only; default: every group");
  update->add_option("--lr,--learning_rate", changes.learning_rate,
                     "learning rate, before schedule and scaling");
  update->add_option("--beta1", changes.beta1, "beta1, or sgd's momentum");
  update->add_option("--beta2", changes.beta2);
  update->add_option("--epsilon", changes.epsilon);
  update->add_option("--dampening", changes.dampening);
  update->add_option("--weight_decay", changes.weight_decay);
  update->add_option("--clip_norm", changes.clip_norm, "0: none");
  update->add_option("--clip_push_norm", changes.clip_push_norm, "0: none");
  update->add_option("--schedule", flags->schedule,
                     "as in a spec file: '{kind: cosine, total_updates: 900}'");
  update->callback([=] {
    *chosen = [=](const Context& context) { return Update(context, *flags); };
  });
}

}  // namespace

void AddSteerCommands(CLI::App& app, Command* chosen) {
  AddUpdate(app, chosen);

  const auto model = std::make_shared<std::string>();
  CLI::App* end_cycle = app.add_subcommand(
      "end-cycle", "closes the open cycle of every group now");
  end_cycle->add_option("MODEL", *model)->required();
  end_cycle->callback([=] {
    *chosen = [=](const Context& context) { return EndCycle(context, *model); };
  });

  const auto flags = std::make_shared<DeleteFlags>();
  CLI::App* remove = app.add_subcommand(
      "delete", "deletes a model with its parameters and sessions");
  remove->add_option("MODEL", flags->model)->required();
  remove->add_flag("-y,--yes", flags->yes, "do not ask");
  remove->callback([=] {
    *chosen = [=](const Context& context) { return Delete(context, *flags); };
  });
}

}  // namespace accrue::ctl
