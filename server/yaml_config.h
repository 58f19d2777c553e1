// YamlConfig: lets CLI11 read a flat YAML file: "key: value" or "key: [a, b]".
//
// Errors.    CLI::ConfigError, as CLI11 wants it: no YAML, or not flat

#ifndef ACCRUE_SERVER_YAML_CONFIG_H_
#define ACCRUE_SERVER_YAML_CONFIG_H_

#include <istream>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

namespace accrue {

class YamlConfig final : public CLI::Config {
 public:
  // Keys whose environment variable (prefix + KEY) is set are left out: CLI11
  // by itself would let the file win over the environment.
  explicit YamlConfig(std::string environment_prefix)
      : environment_prefix_(std::move(environment_prefix)) {}

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;
  // Nothing writes a config file.
  std::string to_config(const CLI::App*, bool, bool,
                        std::string) const override {
    return "";
  }

 private:
  const std::string environment_prefix_;
};

// "ACCRUED_" and "log_level" give "ACCRUED_LOG_LEVEL".
std::string EnvironmentName(const std::string& prefix, const std::string& key);

}  // namespace accrue

#endif  // ACCRUE_SERVER_YAML_CONFIG_H_
