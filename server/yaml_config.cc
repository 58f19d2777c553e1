#include "server/yaml_config.h"

#include <cstdlib>

#include <yaml-cpp/yaml.h>

#include "absl/strings/ascii.h"

namespace accrue {
namespace {

std::vector<std::string> Values(const std::string& key,
                                const YAML::Node& node) {
  if (node.IsScalar()) return {node.Scalar()};
  std::vector<std::string> values;
  if (node.IsSequence()) {
    for (const YAML::Node& element : node) {
      if (element.IsScalar()) values.push_back(element.Scalar());
    }
    if (values.size() == node.size()) return values;
  }
  throw CLI::ConfigError("config key \"" + key +
                         "\": want a value or a list of values");
}

}  // namespace

std::string EnvironmentName(const std::string& prefix, const std::string& key) {
  return prefix + absl::AsciiStrToUpper(key);
}

std::vector<CLI::ConfigItem> YamlConfig::from_config(
    std::istream& input) const {
  YAML::Node file;
  try {
    file = YAML::Load(input);
  } catch (const YAML::Exception& error) {
    throw CLI::ConfigError(std::string("config file: ") + error.what());
  }
  std::vector<CLI::ConfigItem> items;
  if (file.IsNull()) return items;
  if (!file.IsMap()) {
    throw CLI::ConfigError("config file: want lines of \"key: value\"");
  }
  for (const auto& entry : file) {
    CLI::ConfigItem item;
    item.name = entry.first.Scalar();
    const std::string variable =
        EnvironmentName(environment_prefix_, item.name);
    if (std::getenv(variable.c_str()) != nullptr) continue;
    item.inputs = Values(item.name, entry.second);
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace accrue
