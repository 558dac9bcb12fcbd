// A user's program, built with what pkg-config or CMake say.
#include <durstream.hpp>

int main() {
    std::printf("%s\n", durstream_version());
    return durstream::pending_count() == 0 ? 0 : 1;
}
