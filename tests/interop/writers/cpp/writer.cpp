// Writes the plan of `rule.mjs` through the C++ header.
// Arguments: the stream's path, the plan, how many events, the seed.
#include <durstream.hpp>

#include <cstdint>
#include <cstdio>
#include <iostream>
#include <map>
#include <optional>
#include <string>

namespace {

constexpr std::uint32_t keys_per_collection = 64;
constexpr const char *notes[] = {
    "",
    "plain",
    R"(quote \" and \\ backslash)",
    R"(line\nbreak\ttab)",
    "\xc3\xbcmlaut \xe2\x82\xac",
    "\xf0\x9f\x9a\xa2 \xf0\x9d\x84\x9e",
    R"(\u0000\u001f)",
    R"(</script>\u2028)",
};
constexpr const char *flags[] = {"true", "false", "null"};

std::uint32_t mixed(std::uint32_t seed, std::uint32_t n) {
    std::uint32_t x = seed + n * 0x9e3779b1u;
    x = (x ^ x >> 16) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    return x ^ x >> 16;
}

/// A key, and as it stands within JSON.
struct Key {
    explicit Key(std::uint32_t bits) {
        const auto number = std::to_string((bits >> 1) % keys_per_collection);
        text = bits & 1 ? "Zo\xc3\xab \"" + number + "\"" : "order-" + number;
        quoted = bits & 1 ? "Zo\xc3\xab \\\"" + number + "\\\"" : text;
    }
    std::string text{}, quoted{};
};

std::string time_of(std::uint32_t n) {
    char text[64];
    std::snprintf(text, sizeof text, "2026-03-01T12:%02u:%02u.%03uZ", n / 60 % 60, n % 60, n % 1000);
    return text;
}

void accepted(const durstream::Receipt &receipt) {
    if (!receipt.accepted()) throw durstream::Error(*receipt.error());
}

class Writer {
public:
    Writer(const std::string &path, const std::string &plan, std::uint32_t count, std::uint32_t seed)
        : producer_(open(path, plan)), plan_(plan), count_(count), seed_(seed) {}

    void run() {
        for (std::uint32_t n = 0; n < count_; n++) {
            if (plan_ == "groups") {
                group(n);
                continue;
            }
            if (plan_ != "txids") controls(n);
            accepted(write(n));
            if (plan_ == "txids") {
                producer_.flush();
                std::cout << n << std::endl;
            }
        }
        producer_.flush();
        producer_.close();
    }

private:
    static durstream::StateProducer open(const std::string &path, const std::string &plan) {
        durstream::StreamSchema schema;
        schema.add("orders", "order", "id").add("users", "user", "id");
        durstream::Options options;
        options.set("stream_path", path).set("producer_id", "interop-cpp");
        if (plan == "strict") options.set("operations", "strict").set("timestamps", true);
        return durstream::create_durable_stream(options, schema);
    }

    void group(std::uint32_t n) {
        const auto bits = mixed(seed_, n);
        const auto number = std::to_string(n);
        const auto order = [&](const std::string &id) {
            return R"({"id":")" + id + R"(","n":)" + number + "}";
        };
        {
            durstream::Transaction changes(producer_, "tx-" + std::to_string(seed_) + "-" + number);
            for (std::uint32_t index = 0; index < 1 + bits % 20; index++)
                changes.upsert("orders", order("g" + number + "-" + std::to_string(index)));
            if (bits >> 7 & 3) accepted(changes.commit());
        }
        accepted(producer_.upsert("orders", order("s" + number)));
    }

    void controls(std::uint32_t n) {
        if (n == 0) accepted(producer_.control(DURSTREAM_CONTROL_SNAPSHOT_START));
        if (n == count_ / 4) accepted(producer_.control(DURSTREAM_CONTROL_SNAPSHOT_END, "1_2"));
        if (n == count_ / 2) {
            last_.clear();
            accepted(producer_.control(DURSTREAM_CONTROL_RESET));
        }
    }

    std::string entity(std::uint32_t n, const Key &key) const {
        const auto bits = mixed(seed_, n), steps = bits % 4001;
        const auto number = std::to_string(n);
        const auto id = bits >> 14 & 1 ? "" : R"("id":")" + key.quoted + R"(",)";
        return "{" + id + R"("n":)" + number + R"(,"amount":)" +
               std::to_string((static_cast<double>(steps) - 2000) / 8) + R"(,"note":")" +
               notes[bits >> 15 & 7] + R"(","flag":)" + flags[(bits >> 18) % 3] +
               R"(,"tags":["a",)" + number + R"(],"nested":{"deep":[null,)" + number + "]}}";
    }

    durstream::Receipt write(std::uint32_t n) {
        const auto bits = mixed(seed_, n), action = bits >> 7 & 7;
        const Key key(bits);
        const std::string collection = bits & 1 ? "users" : "orders";
        const auto found = last_.find(key.text);
        std::optional<std::uint32_t> before;
        if (found != last_.end()) before = found->second;

        const auto txid = "tx-" + std::to_string(seed_) + "-" + std::to_string(n);
        const auto time = time_of(n);
        durstream::Event event;
        if (plan_ == "txids" || bits >> 11 & 1) event.txid = txid;
        if (bits >> 12 & 1) event.timestamp = time;
        if (plan_ != "strict" && bits >> 13 & 1) event.headers.emplace_back("from", "billing");

        auto old = event;
        const auto old_value = before ? entity(*before, key) : std::string();
        if (before && bits >> 10 & 1) old.old_value = old_value;
        if (action < 2 && before) {
            last_.erase(found);
            if (action == 0) return producer_.remove(collection, key.text, old);
            return producer_.change(DURSTREAM_OPERATION_DELETE, collection,
                                    R"({"id":")" + key.quoted + R"("})", old);
        }
        last_[key.text] = n;
        if (bits >> 14 & 1) event.key = old.key = key.text;
        if (action < 5) return producer_.upsert(collection, entity(n, key), event);
        if (!before) return producer_.insert(collection, entity(n, key), event);
        return producer_.update(collection, entity(n, key), old);
    }

    durstream::StateProducer producer_;
    std::string plan_;
    std::uint32_t count_, seed_;
    std::map<std::string, std::uint32_t> last_{};
};

} // namespace

int main(int argc, char **argv) {
    if (argc != 5) {
        std::cerr << "writer.cpp: PATH PLAN COUNT SEED\n";
        return 2;
    }
    try {
        const auto number = [&](int at) {
            return static_cast<std::uint32_t>(std::stoul(argv[at]));
        };
        Writer(argv[1], argv[2], number(3), number(4)).run();
        durstream::shutdown(std::chrono::seconds(1));
        return 0;
    } catch (const std::exception &error) {
        std::cerr << "writer.cpp: " << error.what() << "\n";
        return 1;
    }
}
