#include "tests/e2e/certificates.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <vector>

#include <gtest/gtest.h>

#include "tests/e2e/ctl_program.h"

namespace accrue {
namespace {

void RunOpenssl(
    const std::vector<std::string>& more, const std::string& key = "ec",
    const std::string& key_option = "ec_paramgen_curve:prime256v1") {
  std::vector<std::string> arguments = {
      "/usr/bin/openssl", "req",      "-x509",  "-newkey", key,
      "-pkeyopt",         key_option, "-nodes", "-days",   "2"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Finished finished = RunProgram(arguments);
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
}

}  // namespace

Certificates::Certificates() {
  char name[] = "/tmp/accrue_certs_XXXXXX";
  directory_ = mkdtemp(name);
}

Certificates::~Certificates() { std::filesystem::remove_all(directory_); }

void Certificates::MakeCa(const std::string& name) {
  RunOpenssl(
      {"-subj", "/CN=" + name, "-keyout", Key(name), "-out", Cert(name)});
}

void Certificates::Make(const std::string& name, const std::string& ca,
                        const std::string& alternative_names) {
  RunOpenssl({"-subj", "/O=Accrue/CN=" + name, "-addext",
              "subjectAltName=" + alternative_names, "-addext",
              "basicConstraints=critical,CA:FALSE", "-CA", Cert(ca), "-CAkey",
              Key(ca), "-keyout", Key(name), "-out", Cert(name)});
}

void Certificates::MakeWeak(const std::string& name) {
  RunOpenssl({"-subj", "/CN=" + name, "-keyout", Key(name), "-out", Cert(name)},
             /*key=*/"rsa", "rsa_keygen_bits:1024");
}

std::string Certificates::Cert(const std::string& name) const {
  return directory_ + "/" + name + ".pem";
}

std::string Certificates::Key(const std::string& name) const {
  return directory_ + "/" + name + ".key";
}

std::string Certificates::Write(const std::string& name,
                                const std::string& text, int mode) const {
  const std::string path = directory_ + "/" + name;
  const std::string temporary = path + ".new";
  std::ofstream(temporary) << text;
  chmod(temporary.c_str(), static_cast<mode_t>(mode));
  std::filesystem::rename(temporary, path);
  return path;
}

std::string Certificates::Read(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

void Certificates::Replace(const std::string& old, const std::string& with) {
  std::filesystem::copy_file(with, old + ".new",
                             std::filesystem::copy_options::overwrite_existing);
  std::filesystem::rename(old + ".new", old);
}

}  // namespace accrue
