// Which process an object was made in: after fork() the child has the memory and none of the
// threads.
#pragma once

namespace mnistkit::detail {

/// The process that made this object.
class Home {
 public:
  Home() noexcept : process_(current()) {}

  /// Whether this is still that process, and not a child that was forked from it.
  [[nodiscard]] bool here() const noexcept { return process_ == current(); }

  /// Throws `Error(closed)` in another process; `what` begins the text, as in "this Runner".
  void check(const char* what) const;

  /// The number of this process; 0 where there is no fork().
  [[nodiscard]] static long current() noexcept;

 private:
  long process_;
};

}  // namespace mnistkit::detail
