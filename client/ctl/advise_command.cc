// advise.

#include <memory>
#include <optional>
#include <set>
#include <string>

#include "client/ctl/advice_report.h"
#include "client/ctl/command.h"
#include "server/base/status_macros.h"

namespace accrue::ctl {
namespace {

struct AdviseFlags {
  std::string model;
  std::optional<int64_t> batch_size;
  std::string bottleneck;
};

absl::Status RunAdvise(const Context& context, const AdviseFlags& flags) {
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model,
                          context.OpenModel(flags.model));
  ACCRUE_ASSIGN_OR_RETURN(const auto description, model.Describe());
  const auto advice = Advise(description, flags.batch_size);
  if (context.json()) context.PrintJson(AdviceJson(advice, flags.bottleneck));
  context.PrintText(AdviceText(advice, flags.bottleneck));
  return absl::OkStatus();
}

}  // namespace

void AddAdviseCommand(CLI::App& app, Command* chosen) {
  const auto flags = std::make_shared<AdviseFlags>();
  CLI::App* advise = app.add_subcommand(
      "advise", "which k fits a model's gradients, and what it would do");
  advise->add_option("MODEL", flags->model)->required();
  advise
      ->add_option("--batch_size", flags->batch_size,
                   "examples in a micro-batch: k by the article's table too")
      ->check(CLI::PositiveNumber);
  std::set<std::string> bottlenecks;
  for (const Branch& branch : DecisionTree()) {
    bottlenecks.insert(branch.bottleneck);
  }
  advise
      ->add_option("--bottleneck", flags->bottleneck,
                   "what training lacks: that branch of the decision tree")
      ->check(CLI::IsMember(bottlenecks));
  advise->callback([=] {
    *chosen = [=](const Context& context) {
      return RunAdvise(context, *flags);
    };
  });
}

}  // namespace accrue::ctl
