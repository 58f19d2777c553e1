// list, describe, sessions, server-info.

#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "client/ctl/command.h"
#include "client/ctl/description_json.h"
#include "client/ctl/description_text.h"
#include "server/base/status_macros.h"

namespace accrue::ctl {
namespace {

absl::Status List(const Context& context) {
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client, context.Connect());
  ACCRUE_ASSIGN_OR_RETURN(const auto models, client.ListModels());
  if (context.json()) {
    Json list = Json::array();
    for (const auto& model : models) list.push_back(ToJson(model));
    context.PrintJson(list);
  }
  context.PrintText(ModelsText(models));
  return absl::OkStatus();
}

absl::Status Describe(const Context& context, const std::string& name) {
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model, context.OpenModel(name));
  ACCRUE_ASSIGN_OR_RETURN(const auto description, model.Describe());
  ACCRUE_ASSIGN_OR_RETURN(const auto sessions, model.ListSessions());
  if (context.json()) {
    Json document = ToJson(description);
    document["sessions"] = ToJson(sessions);
    context.PrintJson(document);
  }
  context.PrintText(absl::StrCat(ModelText(description), "\n",
                                 SessionsText(sessions, absl::Now())));
  return absl::OkStatus();
}

absl::Status Sessions(const Context& context, const std::string& name) {
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model, context.OpenModel(name));
  ACCRUE_ASSIGN_OR_RETURN(const auto sessions, model.ListSessions());
  if (context.json()) context.PrintJson(ToJson(sessions));
  context.PrintText(SessionsText(sessions, absl::Now()));
  return absl::OkStatus();
}

absl::Status ServerInfo(const Context& context) {
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client, context.Connect());
  ACCRUE_ASSIGN_OR_RETURN(const auto info, client.GetServerInfo());
  if (context.json()) context.PrintJson(ToJson(info));
  context.PrintText(ServerInfoText(info));
  return absl::OkStatus();
}

}  // namespace

void AddInspectCommands(CLI::App& app, Command* chosen) {
  app.add_subcommand("list", "all models, one line each")->callback([chosen] {
    *chosen = List;
  });

  const auto model = std::make_shared<std::string>();
  CLI::App* describe = app.add_subcommand(
      "describe",
      "a model: spec, cycles, who has pushed and who is missing, memory, "
      "sessions");
  describe->add_option("MODEL", *model)->required();
  describe->callback([=] {
    *chosen = [=](const Context& context) { return Describe(context, *model); };
  });

  CLI::App* sessions = app.add_subcommand("sessions", "a model's workers");
  sessions->add_option("MODEL", *model)->required();
  sessions->callback([=] {
    *chosen = [=](const Context& context) { return Sessions(context, *model); };
  });

  app.add_subcommand("server-info", "the daemon: version, limits, devices")
      ->callback([chosen] { *chosen = ServerInfo; });
}

}  // namespace accrue::ctl
