#include "core/process.hpp"

#include <string>

#include "mnistkit/error.hpp"

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

namespace mnistkit::detail {

long Home::current() noexcept {
#if __has_include(<unistd.h>)
  return static_cast<long>(getpid());
#else
  return 0;
#endif
}

void Home::check(const char* what) const {
  const long now = current();
  if (now == process_) return;
  throw Error(ErrorCode::closed, std::string(what) + " was made by process " +
                                     std::to_string(process_) + ", and this is process " +
                                     std::to_string(now) +
                                     ", which was forked and has none of its threads: make one "
                                     "here, after the fork");
}

}  // namespace mnistkit::detail
