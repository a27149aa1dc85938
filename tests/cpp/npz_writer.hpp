// Writes .npz files as numpy.savez does, for tests of what reads them.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace mnistkit::test {

/// A member of a .npz file: a dtype ("<f4"), a shape ("2, 10" or "2,") and the array's bytes.
struct Member {
  std::string name, dtype, shape, data;
};

inline std::string little_endian(std::size_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

/// The members in a zip file that is not compressed; the checksums are left at 0.
inline std::string npz(const std::vector<Member>& members) {
  std::string file, directory;
  for (const Member& member : members) {
    const std::string head = "{'descr': '" + member.dtype +
                             "', 'fortran_order': False, 'shape': (" + member.shape + "), }\n";
    const std::string body =
        "\x93NUMPY" + std::string("\1\0", 2) + little_endian(head.size(), 2) + head + member.data;
    const std::string name = member.name + ".npy";
    const std::string sizes = little_endian(0, 4) + little_endian(body.size(), 4) +
                              little_endian(body.size(), 4) + little_endian(name.size(), 2);
    const std::string versions("\x14\0\0\0\0\0\0\0\x21\0", 10);  // not compressed, in 1980
    directory += "PK\1\2" + std::string("\x14\0", 2) + versions + sizes + std::string(12, '\0') +
                 little_endian(file.size(), 4) + name;
    file += "PK\3\4" + versions + sizes + std::string(2, '\0') + name + body;
  }
  const std::string count = little_endian(members.size(), 2);
  return file + directory + "PK\5\6" + std::string(4, '\0') + count + count +
         little_endian(directory.size(), 4) + little_endian(file.size(), 4) + std::string(2, '\0');
}

/// Bytes of floats.
inline std::string bytes_of(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// Golden digits with those labels, as bytes; each precision's logits are 5 for the label.
inline std::vector<Member> golden_members(const std::string& labels) {
  const std::string n = std::to_string(labels.size());
  std::vector<float> logits(labels.size() * 10);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    logits[i * 10 + static_cast<std::size_t>(labels[i])] = 5;
  }
  return {{"images", "|u1", n + ", 1, 28, 28", std::string(labels.size() * 784, '\x40')},
          {"labels", "|u1", n + ",", labels},
          {"classes", "|S1", "10,", "0123456789"},
          {"logits_fp32", "<f4", n + ", 10", bytes_of(logits)},
          {"logits_fp16", "<f4", n + ", 10", bytes_of(logits)},
          {"logits_int8", "<f4", n + ", 10", bytes_of(logits)}};
}

}  // namespace mnistkit::test
