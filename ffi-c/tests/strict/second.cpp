// A second translation unit of the same program.
#include <durstream.hpp>
#include <durstream_test.hpp>

int second();

int second() {
    const durstream::Outcome outcome;
    const bool named = durstream::name_of(outcome.status) == "delivered";
    return named && durstream::pending_count() == 0 ? 0 : 4;
}
