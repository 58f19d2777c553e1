// Certificates: CAs and what they have signed, made for a test by openssl(1).
//
// Errors.    reported as failures of the test that runs

#ifndef ACCRUE_TESTS_E2E_CERTIFICATES_H_
#define ACCRUE_TESTS_E2E_CERTIFICATES_H_

#include <string>

namespace accrue {

class Certificates {
 public:
  // In a directory of their own, which goes with them.
  Certificates();
  ~Certificates();
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;

  // A CA, as Cert(name) and Key(name).
  void MakeCa(const std::string& name);
  // One that `ca` has signed, for localhost and the loopback addresses.
  void Make(const std::string& name, const std::string& ca,
            const std::string& alternative_names =
                "DNS:localhost,IP:127.0.0.1,IP:::1");
  // One that has signed itself, with a key too short for OpenSSL's level.
  void MakeWeak(const std::string& name);

  std::string Cert(const std::string& name) const;
  std::string Key(const std::string& name) const;
  // A file of this name, and these permissions.
  std::string Write(const std::string& name, const std::string& text,
                    int mode = 0600) const;

  // Of a file: what it holds.
  static std::string Read(const std::string& path);
  // Replaces one file by a copy of another, at once.
  static void Replace(const std::string& old, const std::string& with);

 private:
  std::string directory_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_CERTIFICATES_H_
