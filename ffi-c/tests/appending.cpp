// The C++ face: appending what ranges give.
#include <durstream.hpp>

#include "http.h"

#include <cstdlib>
#include <iterator>
#include <list>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

/// "Passing objects to append instead of strings" does not compile.
template <class Writer, class Value, class = void>
constexpr bool takes = false;
template <class Writer, class Value>
constexpr bool takes<Writer, Value,
                     std::void_t<decltype(std::declval<Writer &>().append(std::declval<Value>()))>> =
    true;
struct Object {};
static_assert(takes<durstream::IdempotentProducer, std::string>);
static_assert(takes<durstream::DurableStream, const char *>);
static_assert(!takes<durstream::IdempotentProducer, Object>);
static_assert(!takes<durstream::DurableStream, Object>);
static_assert(!takes<durstream::DurableStream, int>);

durstream::DurableStream create(const std::string &path) {
    durstream::Options options;
    options.set("stream_path", path).set("content_type", "application/json");
    return durstream::DurableStream::create(options);
}

std::string contents(const std::string &path) {
    char *body = read_stream(path.c_str());
    std::string copy(body);
    std::free(body);
    return copy;
}

/// Counts up, and throws when it moves on to `throws_at`.
class Counting {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;
    using pointer = const std::string *;
    using reference = std::string;

    Counting(int n, int throws_at) : n_(n), throws_at_(throws_at) {}
    std::string operator*() const { return "{\"n\":" + std::to_string(n_) + "}"; }
    Counting &operator++() {
        if (++n_ == throws_at_) throw std::runtime_error("the disk is gone");
        return *this;
    }
    bool operator==(const Counting &other) const { return n_ == other.n_; }

private:
    int n_, throws_at_;
};

struct Numbers {
    int end_, throws_at_ = -1;
    Counting begin() const { return {0, throws_at_}; }
    Counting end() const { return {end_, -1}; }
};

void ranges_arrive_in_order() {
    const std::string path = fresh_path("ranges");
    const auto stream = create(path);
    const std::vector<std::string> strings{"1", "2"};
    const std::list<std::string_view> views{"3", "4"};
    const char *const texts[] = {"5", "6"};
    std::istringstream words("7 8");
    const std::vector<std::string> read{std::istream_iterator<std::string>(words), {}};
    CHECK(stream.append_stream(strings).delivered == 2);
    CHECK(stream.append_stream(views).delivered == 2);
    CHECK(stream.append_stream(texts).delivered == 2);
    CHECK(stream.append_stream(read).delivered == 2);
    CHECK(stream.append_stream(std::vector<std::string>{}).delivered == 0);
    CHECK(contents(path) == "[1,2,3,4,5,6,7,8]");

    const std::string many = fresh_path("many");
    CHECK(create(many).append_stream(Numbers{5000}).delivered == 5000);
    check_numbers(many.c_str(), 5000);
}

void a_type_nobody_gave_is_asked_for() {
    const std::string path = fresh_path("untyped");
    create(path);
    durstream::Options options;
    options.set("stream_path", path);
    const auto stream = durstream::DurableStream::connect(options);
    CHECK(!stream.append(R"({"n":0})").offset.empty());
    durstream::IdempotentProducer producer(stream, "untyped");
    producer.append("[1]");
    CHECK(producer.detach().delivered == 1);
    CHECK(contents(path) == R"([{"n":0},[1]])");
}

void a_range_that_throws_leaves_what_came_before() {
    const std::string path = fresh_path("throws");
    const auto stream = create(path);
    try {
        stream.append_stream(Numbers{9, 4});
        CHECK(!"it threw nothing");
    } catch (const durstream::DeliveryError &error) {
        CHECK(error.delivered() == 4 && error.undelivered() == 0);
        CHECK(error.cause().code() == DURSTREAM_INVALID_ARGUMENT);
        CHECK(std::string(error.cause().what()).find("the disk is gone") != std::string::npos);
    }
    check_numbers(path.c_str(), 4);
}

} // namespace

int main() {
    ranges_arrive_in_order();
    a_type_nobody_gave_is_asked_for();
    a_range_that_throws_leaves_what_came_before();
    durstream::shutdown(std::chrono::milliseconds(5000));
    return 0;
}
