// The C++ face: RAII, receipts, exceptions, callbacks.
#include <durstream.hpp>

#include "http.h"
#include "peer.h"

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

static_assert(!std::is_copy_constructible_v<durstream::IdempotentProducer>);
static_assert(std::is_nothrow_move_constructible_v<durstream::IdempotentProducer>);
static_assert(!std::is_copy_constructible_v<durstream::StateProducer>);
static_assert(std::is_nothrow_move_assignable_v<durstream::StateProducer>);
static_assert(std::is_nothrow_destructible_v<durstream::StateProducer>);
static_assert(!std::is_copy_constructible_v<durstream::Reader>);
static_assert(std::is_nothrow_move_constructible_v<durstream::Reader>);
static_assert(!std::is_copy_constructible_v<durstream::Chunk>);

/// Ends the program unless `work` throws exactly this.
template <class Expected, class Work>
Expected thrown(Work work) {
    try {
        work();
    } catch (const Expected &error) {
        return error;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "another exception: %s\n", error.what());
    }
    std::fprintf(stderr, "not thrown: %s\n", __PRETTY_FUNCTION__);
    std::exit(1);
}

durstream::Options options_at(const std::string &path) {
    durstream::Options options;
    options.set("stream_path", path);
    return options;
}

durstream::DurableStream json_stream(const std::string &path) {
    auto options = options_at(path);
    options.set("content_type", "application/json");
    return durstream::DurableStream::create(options);
}

std::string contents(const std::string &path) {
    char *body = read_stream(path.c_str());
    std::string copy(body);
    std::free(body);
    return copy;
}

void producers_write() {
    const std::string path = fresh_path("face");
    const auto stream = json_stream(path);
    CHECK(stream.url().find(path) != std::string::npos);
    durstream::Options options;
    options.set("linger_ms", 1).set("auto_claim", true);
    durstream::IdempotentProducer producer(stream, "face", options);
    const auto receipt = producer.append(R"({"n":0})");
    CHECK(receipt.accepted() && receipt.id() == 1 && receipt.reason().empty());
    CHECK(producer.try_append(R"({"n":1})").id() == 2);
    const auto outcome = producer.wait(receipt, 30s);
    CHECK(outcome.delivered() && !outcome.error);
    CHECK(producer.flush(30s).delivered == 2);
    CHECK(producer.stats().delivered == 2 && producer.pending_count() == 0);
    CHECK(producer.stats().batch_writes.sum == 2);
    CHECK(producer.stats_prometheus().find("producer_id=\"face\"} 2\n") != std::string::npos);
    CHECK(durstream::stats_prometheus(true).find("# EOF") != std::string::npos);
    CHECK(producer.state() == DURSTREAM_LIFECYCLE_READY);
    CHECK(producer.epoch() > 0 && producer.last_offset() && producer.id() == "face");

    const auto invalid = thrown<durstream::ValidationError>([&] { producer.append("{"); });
    CHECK(invalid.reason() == "invalid-value" && invalid.definite() && !invalid.retryable());
    CHECK(invalid.json().find("ValidationError") != std::string::npos);
    thrown<durstream::ValidationError>([&] { producer.append({}); });
    thrown<durstream::ValidationError>([&] { producer.close(""); });

    auto moved = std::move(producer);
    CHECK(moved.close(R"({"n":2})", 30s).has_value());
    thrown<durstream::ProducerClosedError>([&] { moved.append("{}"); });
    thrown<durstream::InvalidArgumentError>([&] { producer.append("{}"); });
    check_numbers(path.c_str(), 3);

    durstream::IdempotentProducer late(stream, "late");
    late.append("{}");
    const auto error = thrown<durstream::DeliveryError>([&] { late.flush(30s); });
    CHECK(error.undelivered() == 1 && error.cause().code() == DURSTREAM_STREAM_CLOSED);
}

void streams_append() {
    const std::string path = fresh_path("face-stream");
    const auto stream = durstream::DurableStream::create(options_at(path), "a");
    CHECK(stream.append("b", 30s).delivered());
    stream.close("c", 30s);
    CHECK(contents(path) == "abc");
}

void streams_are_read() {
    const std::string path = fresh_path("face-read");
    auto options = options_at(path);
    options.set("content_type", "application/json").set("ttl_seconds", 3600).param("a", "b c");
    const auto stream = durstream::DurableStream::create(options);
    auto reader = stream.read();
    CHECK(!reader.next(30s) && reader.up_to_date() && !reader.stream_closed());
    const std::string big = R"({"n": 12345678901234567890})";
    stream.append(big, 30s);
    const auto head = stream.head(30s);
    CHECK(head.exists && head.content_type == "application/json" && head.ttl_seconds == 3600u);
    CHECK(!head.stream_closed && head.expires_at.empty());
    int chunks = 0;
    for (const durstream::Chunk &chunk : reader) {
        CHECK(chunk.data() == "[" + big + "]");
        CHECK(chunk.items() == std::vector<std::string_view>{big});
        CHECK(chunk.item_count() == 1 && chunk.item(0) == big && chunk.item(1).empty());
        CHECK(chunk.offset() == head.offset && chunk.up_to_date() && !chunk.stream_closed());
        chunks++;
    }
    CHECK(chunks == 1 && reader.offset() == head.offset);
    for (const auto &chunk : stream.read(head.offset)) CHECK(chunk.data().empty());

    const auto other = durstream::DurableStream::connect(options);
    CHECK(other.append_seq("1", "b", 30s).delivered());
    const auto conflict =
        thrown<durstream::SequenceConflictError>([&] { other.append_seq("2", "a", 30s); });
    CHECK(conflict.status() == 409);
    stream.close(std::nullopt, 30s);
    auto moved = std::move(reader);
    const auto last = moved.next(30s);
    CHECK(last && last->stream_closed() && moved.stream_closed() && !moved.next(30s));

    const auto offset = thrown<durstream::InvalidArgumentError>([&] {
        stream.read("no offset").next(30s);
    });
    CHECK(offset.option() == "offset" && offset.status() == 400);
    thrown<durstream::InvalidArgumentError>([&] { stream.read(std::string_view("a\0b", 3)); });
    thrown<durstream::NotSupportedError>([&] { stream.read(std::nullopt, "long-poll"); });
    thrown<durstream::InvalidArgumentError>([&] { stream.read(std::nullopt, "later"); });
    thrown<durstream::InvalidArgumentError>([&] { stream.append_seq("1", {"a\0b", 3}); });
    thrown<durstream::InvalidArgumentError>([&] { options.param("live", "sse"); });
    thrown<durstream::InvalidArgumentError>([&] { reader.next(); });

    stream.remove(30s);
    const auto nothing = stream.head(30s);
    CHECK(!nothing.exists && nothing.offset.empty() && nothing.content_type.empty());
    CHECK(!nothing.stream_closed && !nothing.ttl_seconds && nothing.expires_at.empty());
    const auto gone = thrown<durstream::StreamNotFoundError>([&] { stream.remove(30s); });
    CHECK(gone.status() == 404 && gone.url().find(path) != std::string::npos);
    thrown<durstream::StreamNotFoundError>([&] {
        for (const auto &chunk : stream.read()) CHECK(chunk.data().empty());
    });

    const auto text = durstream::DurableStream::create(options_at(fresh_path("face-text")), "a");
    const auto chunk = text.read().next(30s);
    CHECK(chunk && chunk->data() == "a");
    thrown<durstream::NotSupportedError>([&] { chunk->items(); });
    thrown<durstream::NotSupportedError>([&] { chunk->item_count(); });
}

durstream::StreamSchema shipments() {
    durstream::StreamSchema schema;
    schema.add("shipments", "shipment", "id",
               R"({"properties":{"status":{"enum":["created"]}}})");
    return schema;
}

void state_answers_with_receipts() {
    const std::string path = fresh_path("face-state");
    auto options = options_at(path);
    options.set("producer_id", "face");
    {
        auto state = durstream::create_durable_stream(options, shipments());
        CHECK(state.upsert("shipments", R"({"id":"a","status":"created"})").id() == 1);
        const auto keyless = state.upsert("shipments", "{}");
        CHECK(!keyless.accepted() && keyless.id() == 0 && keyless.reason() == "invalid-key");
        CHECK(dynamic_cast<const durstream::ValidationError *>(keyless.error().get()));
        CHECK(state.try_upsert("shipments", R"({"id":"a","status":"x"})").reason() ==
              "invalid-value");
        CHECK(state.remove("parcels", "a").reason() == "invalid-entity");
        const auto removed = state.try_remove("shipments", "a");
        CHECK(state.wait(removed, 30s).delivered());
        state.close(30s);
        CHECK(state.remove("shipments", "a").reason() == "producer-stopping" ||
              state.remove("shipments", "a").reason() == "producer-stopped");
        thrown<durstream::InvalidArgumentError>([&] { state.remove({"a\0b", 3}, "a"); });
    }
    {
        // The scope's end delivers, and another open goes on under the same id.
        durstream::StateProducer state(options, shipments());
        state.upsert("shipments", R"({"id":"b"})");
    }
    CHECK(occurrences(contents(path).c_str(), "\"key\"") == 3);
    options.set("strict", true);
    durstream::StateProducer strict(options, shipments());
    thrown<durstream::ValidationError>([&] { strict.upsert("shipments", "{}"); });
    strict.close_stream(30s);
}

void events_say_what_they_were_told() {
    const std::string path = fresh_path("face-events");
    auto options = options_at(path);
    options.set("producer_id", "face-events").set("trace", true);
    durstream::StateProducer state(options, shipments());
    durstream::Event event;
    event.txid = "tx-1";
    event.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    event.tracestate = "a=1";
    event.timestamp = "2026-02-28T10:00:00Z";
    event.headers = {{"from", "billing"}};
    event.old_value = R"({"id":"a"})";
    CHECK(state.update("shipments", R"({"id":"a"})", event).accepted());
    CHECK(state.remove("shipments", "a", durstream::Event{}).accepted());
    CHECK(state.try_change(DURSTREAM_OPERATION_INSERT, "shipments", R"({"id":"b"})").accepted());
    const std::vector<std::string> both{R"({"id":"c"})", R"({"id":"d"})"};
    CHECK(state.upsert_many("shipments", both).back().id() == 5);
    CHECK(state.control(DURSTREAM_CONTROL_SNAPSHOT_END, "1_2").accepted());
    CHECK(state.try_control(DURSTREAM_CONTROL_RESET).accepted());
    state.flush(30s);
    const std::string expected =
        R"([{"type":"shipment","key":"a","value":{"id":"a"},"old_value":{"id":"a"},)"
        R"("headers":{"operation":"update","txid":"tx-1","timestamp":"2026-02-28T10:00:00Z",)"
        R"("from":"billing","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",)"
        R"("tracestate":"a=1"}},{"type":"shipment","key":"a","headers":{"operation":"delete"}},)"
        R"({"type":"shipment","key":"b","value":{"id":"b"},"headers":{"operation":"insert"}},)"
        R"({"type":"shipment","key":"c","value":{"id":"c"},"headers":{"operation":"upsert"}},)"
        R"({"type":"shipment","key":"d","value":{"id":"d"},"headers":{"operation":"upsert"}},)"
        R"({"headers":{"control":"snapshot-end","offset":"1_2"}},{"headers":{"control":"reset"}}])";
    CHECK(contents(path) == expected);

    durstream::Event empty;
    empty.txid = "";
    CHECK(state.upsert("shipments", R"({"id":"a"})", empty).reason() == "invalid-headers");
    event.headers = {{"txid", "x"}};
    CHECK(state.upsert("shipments", R"({"id":"a"})", event).reason() == "invalid-headers");
    thrown<durstream::InvalidArgumentError>([&] { state.control(DURSTREAM_CONTROL_RESET, ""); });
}

struct Parcel {
    Parcel(std::string own_id, int own_size) : id(std::move(own_id)), size(own_size) {}
    std::string id;
    int size;
};

std::string json_of(const Parcel &parcel) {
    return R"({"id":")" + parcel.id + R"(","size":)" + std::to_string(parcel.size) + "}";
}

/// Collections whose entities have a type, in place of their names.
void entities_have_types() {
    const std::string path = fresh_path("face-typed");
    durstream::StreamSchema schema, another;
    const auto parcels = schema.collection<Parcel>("parcels", "parcel", "id", json_of);
    const auto texts = schema.collection<std::string>(
        "texts", "text", "id", [](const std::string &id) { return R"({"id":")" + id + R"("})"; },
        R"({"maxProperties":1})");
    const auto raw = schema.collection<std::string>("raw", "raw", "id", {}, R"({"minProperties":2})");
    const auto foreign = another.collection<Parcel>("parcels", "parcel", "id", json_of);
    CHECK(parcels.name() == "parcels" && parcels.json({"x", 1}) == R"({"id":"x","size":1})");
    auto options = options_at(path);
    options.set("producer_id", "face-typed");
    durstream::StateProducer first(options, schema);
    durstream::StateProducer state = std::move(first);
    CHECK(state.upsert(parcels, {"a", 1}, 7).accepted());
    CHECK(state.try_upsert(parcels, Parcel("b", 2)).accepted());
    durstream::Event event;
    event.txid = "t";
    state.upsert(parcels, {"c", 3}, event);
    state.insert(texts, "d");
    CHECK(!state.upsert(raw, R"({"id":"x"})").accepted());
    state.upsert(raw, R"({"id":"i","n":1})");
    state.update(parcels, {"a", 4}, event);
    state.upsert_many(parcels, std::vector<Parcel>{{"e", 5}, {"f", 6}});
    state.change(DURSTREAM_OPERATION_DELETE, parcels, {"b", 2});
    state.try_change(DURSTREAM_OPERATION_DELETE, texts, "d");
    state.remove(parcels, "c");
    state.try_remove(parcels, "e");
    state.remove(parcels, "f", event);
    auto changes = state.transaction("u");
    changes.insert(parcels, {"g", 7});
    changes.update(parcels, {"g", 8});
    changes.upsert(texts, "h");
    changes.change(DURSTREAM_OPERATION_DELETE, texts, "h");
    changes.remove(parcels, "g");
    CHECK(changes.commit().accepted());

    const std::string why = "no collection `parcels of another schema`";
    for (const auto &receipt : {state.upsert(foreign, {"a", 1}), state.remove(foreign, "a"),
                                state.try_change(DURSTREAM_OPERATION_DELETE, foreign, {"a", 1})}) {
        CHECK(!receipt.accepted() && receipt.error()->reason() == "invalid-entity");
        CHECK(std::string(receipt.error()->what()).find(why) != std::string::npos);
    }
    auto refused = state.transaction();
    refused.upsert(foreign, {"a", 1});
    refused.remove(foreign, "a");
    const auto receipt = refused.commit();
    CHECK(!receipt.accepted());
    CHECK(std::string(receipt.error()->what()).find("2 changes") == 0);
    state.flush();

    const std::string body = contents(path);
    std::string said;
    for (std::size_t at = 0; (at = body.find(R"("key":")", at)) != std::string::npos;) {
        said += body[at += 7];
        at = body.find(R"("operation":")", at) + 13;
        said += body.substr(at, 3) + ' ';
    }
    CHECK(said == "aups bups cups dins iups aupd eups fups bdel ddel cdel edel fdel gins gupd hups hdel gdel ");
    CHECK(occurrences(body.c_str(), R"("txid":"u")") == 5);
}

void transactions_stay_together() {
    const std::string path = fresh_path("face-transactions");
    auto options = options_at(path);
    options.set("producer_id", "face-transactions");
    durstream::StateProducer state(options, shipments());
    auto transaction = state.transaction("tx-1");
    CHECK(transaction.txid() == "tx-1");
    transaction.insert("shipments", std::string(R"({"id":"a"})"));
    CHECK(state.upsert("shipments", R"({"id":"b"})").accepted());
    transaction.remove("shipments", "c");
    const auto receipt = transaction.commit();
    CHECK(receipt.id() == 3 && state.wait(receipt, 30s).delivered());
    thrown<durstream::InvalidArgumentError>([&] { transaction.commit(); });
    {
        durstream::Transaction dropped(state);
        CHECK(dropped.txid().size() == 36);
        dropped.upsert("shipments", R"({"id":"d"})");
        thrown<durstream::InvalidArgumentError>([&] { state.transaction(); });
    }
    auto refused = state.transaction();
    refused.update("shipments", R"({"id":"e","status":"lost"})");
    refused.upsert("shipments", "{}");
    const auto why = refused.try_commit();
    CHECK(why.reason() == "invalid-value");
    const auto *error = dynamic_cast<const durstream::ValidationError *>(why.error().get());
    CHECK(error != nullptr && error->issues().size() == 2);
    auto rolled_back = state.transaction();
    rolled_back.upsert("shipments", R"({"id":"f"})");
    rolled_back.rollback();
    state.flush(30s);
    CHECK(occurrences(contents(path).c_str(), "\"key\"") == 3);
    CHECK(occurrences(contents(path).c_str(), "\"txid\":\"tx-1\"") == 2);

    const std::string groups = fresh_path("face-groups");
    auto stream = durstream::DurableStream::create(options_at(groups).set("content_type", "application/json"));
    durstream::IdempotentProducer producer(stream, "p");
    CHECK(producer.append_group({"1", "2"}).id() == 2 && producer.try_append_group({}).id() == 0);
    thrown<durstream::ValidationError>([&] { producer.append_group({"3", "no"}); });
    producer.detach(30s);
    CHECK(contents(groups) == "[1,2]");
}

void callbacks_are_wrapped() {
    std::atomic<int> writes{0}, reports{0};
    {
        durstream::Options options;
        options.set("url", "http://127.0.0.1:1/v1/stream/x");
        const auto stream = durstream::DurableStream::connect(options);
        durstream::Options own;
        own.set("delivery_timeout_ms", 300).on_error([&](const durstream::Failure &failure) {
            if (failure.id == 0) {
                CHECK(dynamic_cast<const durstream::DeliveryError *>(failure.error.get()));
                reports++;
            } else {
                CHECK(failure.payload == "lost");
                CHECK(failure.outcome.reason == DURSTREAM_REASON_EXPIRED);
                CHECK(dynamic_cast<const durstream::TransportError *>(failure.error.get()));
                writes++;
            }
            throw std::runtime_error("goes no further");
        });
        durstream::IdempotentProducer producer(stream, "face", own);
        producer.append("lost");
    }
    durstream::shutdown(5s);
    CHECK(writes == 1 && reports == 1);
}

void an_empty_callback_is_none() {
    static std::atomic<int> lines{0};
    durstream_set_log(
        [](durstream_log_level, const char *text, void *) {
            if (std::string_view(text).find("a write was") != std::string_view::npos) lines++;
        },
        nullptr);
    {
        durstream::Options options, own;
        options.set("url", "http://127.0.0.1:1/v1/stream/x");
        const auto stream = durstream::DurableStream::connect(options);
        own.set("delivery_timeout_ms", 50).on_error(nullptr);
        durstream::IdempotentProducer producer(stream, "face", own);
        producer.append("lost");
        thrown<durstream::DeliveryError>([&] { producer.flush(30s); });
    }
    WAIT_UNTIL(lines == 1); // as without one
    durstream_set_log(nullptr, nullptr);
}

void the_log_has_fields_and_levels() {
    static std::atomic<int> ready{0}, lines{0};
    durstream::set_log([](const durstream::LogLine &line) {
        lines++;
        if (line.producer_id == "face-log" && line.level == DURSTREAM_LOG_DEBUG &&
            line.target == "producer" && line.epoch > 0 && !line.stream.empty() &&
            line.text == "producer face-log: connecting -> ready")
            ready++;
        if (line.text.find("-> stopped") != std::string_view::npos)
            throw std::runtime_error("goes no further");
    });
    durstream::set_log_level(DURSTREAM_LOG_DEBUG);
    {
        const auto stream = json_stream(fresh_path("face-log"));
        durstream::IdempotentProducer producer(stream, "face-log");
        producer.append("1");
        producer.flush(30s);
    }
    WAIT_UNTIL(ready == 1);
    durstream::set_log_level(DURSTREAM_LOG_INFO);
    durstream::set_log(nullptr);
    thrown<durstream::InvalidArgumentError>(
        [] { durstream::set_log_level(static_cast<durstream::LogLevel>(9)); });
}

/// Lives until the callback that was told of its write has let it go.
struct Order {
    int number;
    std::atomic<int> *settled;
};

void tags_come_back() {
    const std::string path = fresh_path("face-tags"), state_path = fresh_path("face-state-tags");
    std::atomic<int> settled{0}, untagged{0}, calls{0}, failed{0};
    const auto token = std::make_shared<int>();
    const auto settle = [&](std::uint64_t tag) {
        if (tag == 0) return void(untagged++);
        const std::unique_ptr<Order> order(reinterpret_cast<Order *>(tag));
        CHECK(order->number == settled++);
        CHECK(order->settled == &settled);
    };
    const auto hear = [&, token](const durstream::Delivery &delivery) {
        CHECK(delivery.outcome.delivered() && !delivery.outcome.offset.empty());
        CHECK(delivery.first_id > 0 && delivery.count > 0);
        for (std::size_t n = 0; n < delivery.count; n++) settle(delivery.tag(n));
        calls++;
        throw std::runtime_error("goes no further");
    };
    const auto made = [&](int number) {
        return reinterpret_cast<std::uint64_t>(new Order{number, &settled});
    };
    durstream::Options own;
    own.on_delivery(hear).on_delivery({}).on_delivery(hear);
    {
        durstream::IdempotentProducer producer(json_stream(path), "face", own);
        for (int n = 0; n < 100; n++) producer.append("{}", made(n));
        producer.try_append("{}", made(100));
        producer.append("{}");
    }
    {
        own.set("stream_path", state_path).set("producer_id", "face");
        durstream::StateProducer state(own, shipments());
        state.upsert("shipments", R"({"id":"a"})", made(101));
        state.try_upsert("shipments", R"({"id":"a"})", made(102));
        state.remove("shipments", "a", made(103));
        state.try_remove("shipments", "a", made(104));
        CHECK(!state.remove("parcels", "a", 7).accepted());
    }
    {
        durstream::Options nowhere, lingering;
        nowhere.set("url", "http://127.0.0.1:1/v1/stream/x");
        lingering.set("linger_ms", 60000).on_error([&](const durstream::Failure &failure) {
            if (failure.id == 0) return; // the destructor's report
            CHECK(failure.outcome.reason == DURSTREAM_REASON_PRODUCER_STOPPED);
            settle(failure.tag);
            failed++;
        });
        durstream::IdempotentProducer producer(durstream::DurableStream::connect(nowhere), "face",
                                               lingering);
        producer.append("x", made(105));
        producer.stop();
    }
    own = durstream::Options();
    durstream::shutdown(30s);
    CHECK(settled == 106 && untagged == 1 && failed == 1 && calls >= 2);
    CHECK(token.use_count() == 2); // `hear` itself holds one
    thrown<durstream::InvalidArgumentError>([&] {
        durstream::Options options = options_at(path);
        durstream::DurableStream::connect(options.on_delivery(hear));
    });
}

void states_are_told() {
    std::vector<durstream::Lifecycle> to;
    bool why = false;
    {
        durstream::Options nowhere, own;
        nowhere.set("url", "http://127.0.0.1:1/v1/stream/x");
        own.on_state([&](const durstream::StateChange &change) {
            const auto before = to.empty() ? DURSTREAM_LIFECYCLE_CONNECTING : to.back();
            CHECK(change.from == before);
            why |= to.empty() && dynamic_cast<const durstream::TransportError *>(change.error.get());
            to.push_back(change.to);
        });
        durstream::IdempotentProducer producer(durstream::DurableStream::connect(nowhere), "face", own);
        producer.append("x");
        while (producer.state() == DURSTREAM_LIFECYCLE_CONNECTING)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        producer.stop();
    }
    durstream::shutdown(30s);
    CHECK(why && to.size() == 3 && to.back() == DURSTREAM_LIFECYCLE_STOPPED);
}

void headers_are_asked_for() {
    const peer_answer answers[] = {
        {"", "", "401 Unauthorized"},
        {"Stream-Next-Offset: x1\r\n", "", nullptr},
        {"Stream-Next-Offset: x2\r\n", "", nullptr},
    };
    peer server;
    peer_start(&server, answers, 3);
    peer_allow(&server, 3);
    auto calls = std::make_shared<std::atomic<int>>(0);
    {
        durstream::Options options, own;
        options.set("url", server.url).set("content_type", "text/plain");
        options.header("Fixed", "f").header("Token", [calls]() {
            const int call = ++*calls;
            if (call == 1) throw std::runtime_error("not yet");
            if (call == 2) throw 2;
            if (call == 3) return std::string("a\0b", 3);
            return "t-" + std::to_string(call);
        });
        own.set("retry_initial_delay_ms", 1).set("retry_max_delay_ms", 1);
        durstream::IdempotentProducer producer(durstream::DurableStream::connect(options), "face",
                                               own);
        producer.append("a");
        producer.flush(30s);
        producer.append("b");
        CHECK(producer.flush(30s).delivered == 1 && producer.stats().delivered == 2);
    }
    durstream::shutdown(5s);
    peer_end(&server);
    CHECK(*calls == 6 && calls.use_count() == 1);
    const char *const expected[] = {"t-4", "t-5", "t-6"};
    for (int n = 0; n < 3; n++) {
        CHECK(peer_heard(server.requests[n], "token", expected[n]));
        CHECK(peer_heard(server.requests[n], "fixed", "f"));
    }
}

/// Waits for what another thread brings about.
template <class Condition>
void until(Condition condition) {
    WAIT_UNTIL(condition());
}

/// Each holder is told, with its own callback, until its scope ends; that flushes first.
void holders_are_told_each() {
    std::atomic<int> one{0}, two{0}, three{0};
    const auto open = [](std::atomic<int> &told) {
        durstream::Options own;
        own.set("url", "http://127.0.0.1:1/v1/stream/holders").set("producer_id", "face");
        own.set("delivery_timeout_ms", 50).on_error([&told](const durstream::Failure &failure) {
            if (failure.id != 0) told++; // 0: a destructor's report
        });
        return durstream::create_durable_stream(own, shipments());
    };
    const auto second = std::make_unique<durstream::StateProducer>(open(two));
    {
        auto first = open(one), third = open(three);
        third = open(three); // the one before is let go
        first.upsert("shipments", R"({"id":"a"})");
    }
    second->upsert("shipments", R"({"id":"b"})");
    thrown<durstream::DeliveryError>([&] { second->flush(30s); });
    until([&] { return two == 2; });
    CHECK(one == 1 && three == 1);
}

void accessors_tell() {
    const peer_answer answers[] = {{"", "", "503 Service Unavailable"},
                                   {"Stream-Next-Offset: x1\r\n", "", nullptr}};
    peer server;
    peer_start(&server, answers, 2);
    {
        durstream::Options options, own;
        options.set("url", server.url).set("content_type", "text/plain");
        own.set("retry_initial_delay_ms", 1);
        durstream::IdempotentProducer producer(durstream::DurableStream::connect(options), "face",
                                               own);
        CHECK(!producer.last_error() && producer.in_flight_count() == 0);
        producer.append("a");
        until([&] { return producer.in_flight_count() == 1; });
        peer_allow(&server, 1);
        until([&] { return producer.last_error() != nullptr; });
        const auto last = producer.last_error();
        CHECK(last->status() == 503);
        CHECK(dynamic_cast<const durstream::TransportError *>(last.get()));
        peer_allow(&server, 1);
        CHECK(producer.flush(30s).delivered == 1 && producer.next_seq() == 1);
    }
    peer_end(&server);

    durstream::Options options;
    peer_start(&server, answers, 1);
    options.set("url", server.url).set("producer_id", "face");
    durstream::StateProducer state(options, shipments());
    CHECK(!state.last_error() && state.next_seq() == 0 && state.in_flight_count() == 0);
    const auto refused = state.upsert("shipments", R"({"id":"a","status":"lost"})").error();
    const auto *error = dynamic_cast<const durstream::ValidationError *>(refused.get());
    CHECK(error && error->collection() == "shipments" && error->key() == "a");
    CHECK(error->issues().size() == 1 && error->issues()[0].path == "/status");
    CHECK(error->issues()[0].message.find("lost") != std::string::npos);
    state.upsert("shipments", R"({"id":"a"})");
    peer_allow(&server, 1);
    until([&] { return state.last_error() != nullptr; });
    CHECK(dynamic_cast<const durstream::TransportError *>(state.last_error().get()));
    state.stop();
    peer_end(&server);
}

void a_dropped_offset_is_named() {
    const peer_answer answers[] = {{"Stream-Next-Offset: 7\r\n", "", "410 Gone"},
                                   {"Stream-Next-Offset: 9\r\n", "", nullptr}};
    peer server;
    peer_start(&server, answers, 2);
    peer_allow(&server, 2);
    durstream::Options options;
    options.set("url", server.url).set("content_type", "text/plain");
    auto reader = durstream::DurableStream::connect(options).read("3");
    const auto error = thrown<durstream::StreamGoneError>([&] { reader.next(30s); });
    CHECK(error.earliest_offset() == "7" && error.reason() == "offset-gone");
    peer_end(&server);
}

/// A locale's comma is no point of an option's.
struct Comma : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
};

void numbers_know_no_locale() {
    durstream::Options options;
    const auto before = std::locale::global(std::locale(std::locale::classic(), new Comma));
    options.set("retry_multiplier", 1.5).set("retry_multiplier", 1.5f);
    options.set("retry_multiplier", 1e300);
    // More digits than `std::to_string` keeps.
    const auto least = thrown<durstream::InvalidArgumentError>(
        [&] { options.set("retry_multiplier", 0.9999999999); });
    CHECK(least.option() == "retry_multiplier");
    std::locale::global(before);
}

void fenced_ones_come_back() {
    const std::string path = fresh_path("face-back");
    const auto stream = json_stream(path);
    durstream::IdempotentProducer old(stream, "one-of-us"), fresh(stream, "one-of-us");
    old.append(R"({"n":0})");
    old.flush(30s);
    fresh.append(R"({"n":1})");
    fresh.flush(30s);
    old.append(R"({"n":"lost"})");
    thrown<durstream::DeliveryError>([&] { old.flush(30s); });
    thrown<durstream::StaleEpochError>([&] { old.wait_ready(30s); });
    old.restart(30s);
    old.wait_ready(30s);
    old.append(R"({"n":2})");
    old.flush(30s);
    check_numbers(path.c_str(), 3);
    old.detach(30s);
    thrown<durstream::ProducerClosedError>([&] { old.restart(30s); });
}

void fenced_state_producers_come_back() {
    const std::string path = fresh_path("face-state-back");
    const std::string shipment = R"({"id":"a","status":"created"})";
    auto options = options_at(path);
    options.set("producer_id", "one-of-us");
    durstream::StateProducer state(options, shipments());
    state.upsert("shipments", shipment);
    state.flush(30s);
    durstream::IdempotentProducer other(json_stream(path), "one-of-us");
    other.append(R"({"headers":{"control":"reset"}})");
    other.detach(30s);
    state.upsert("shipments", shipment);
    thrown<durstream::DeliveryError>([&] { state.flush(30s); });
    state.restart(30s);
    state.upsert("shipments", shipment);
    CHECK(state.flush(30s).delivered == 1);
    state.close(30s);
    thrown<durstream::ProducerClosedError>([&] { state.restart(30s); });
}

void room_is_bounded() {
    durstream::Options options, own;
    options.set("url", "http://127.0.0.1:1/v1/stream/x");
    own.set("max_batch_bytes", 200);
    durstream::IdempotentProducer producer(durstream::DurableStream::connect(options), "face",
                                           own);
    durstream::set_buffer_budget(0);
    producer.try_append("a"); // something has room in any case
    thrown<durstream::BufferFullError>([&] { for (;;) producer.try_append("b"); });
    thrown<durstream::TimeoutError>([&] { producer.wait_ready(0ms); });
    durstream::set_buffer_budget(512 << 20);
    producer.wait_ready(0ms);
    producer.try_append("b");
    producer.stop();

    const std::string path = fresh_path("face-ready");
    auto state_options = options_at(path);
    state_options.set("producer_id", "face");
    durstream::StateProducer state(state_options, shipments());
    state.wait_ready(30s);
    const auto head = durstream::DurableStream::connect(options_at(path)).head(30s);
    CHECK(head.content_type == "application/json");
}

/// A text that C cannot take is named as the argument it is.
void nul_is_named() {
    const std::string_view nul("a\0b", 3);
    durstream::Options options;
    options.set("url", "http://127.0.0.1:1/x");
    const auto stream = durstream::DurableStream::connect(options);
    durstream::Options own;
    own.set("url", "http://127.0.0.1:1/nul").set("producer_id", "nul");
    durstream::StateProducer state(own, shipments());
    const std::vector<std::pair<std::string, std::function<void()>>> calls{
        {"name", [&] { own.set(nul, "x"); }},
        {"value", [&] { own.set("url", nul); }},
        {"name", [&] { own.header(nul, "x"); }},
        {"value", [&] { own.header("a", nul); }},
        {"name", [&] { own.header(nul, [] { return ""; }); }},
        {"name", [&] { own.param(nul, "x"); }},
        {"value", [&] { own.param("a", nul); }},
        {"seq", [&] { stream.append_seq("a", nul); }},
        {"offset", [&] { stream.read(nul); }},
        {"live", [&] { stream.read(std::nullopt, nul); }},
        {"producer_id", [&] { durstream::IdempotentProducer(stream, nul); }},
        {"name", [&] { shipments().add(nul, "a", "id"); }},
        {"entity_type", [&] { shipments().add("a", nul, "id"); }},
        {"primary_key", [&] { shipments().add("a", "a", nul); }},
        {"json_schema", [&] { shipments().add("a", "a", "id", nul); }},
        {"collection", [&] { state.upsert(nul, "{}"); }},
        {"collection", [&] { state.try_remove(nul, "a"); }},
        {"key", [&] { state.remove("shipments", nul); }},
    };
    for (const auto &[argument, call] : calls) {
        const auto error = thrown<durstream::InvalidArgumentError>(call);
        CHECK(error.option() == argument);
        CHECK(error.what() == "`" + argument + "` holds a NUL character");
        CHECK(error.definite() && !error.retryable() && error.code() == DURSTREAM_INVALID_ARGUMENT);
    }
}

void bad_input_throws() {
    durstream::Options options;
    const auto error = thrown<durstream::InvalidArgumentError>([&] { options.set("linger_ms", -1); });
    CHECK(error.option() == "linger_ms" && error.code() == DURSTREAM_INVALID_ARGUMENT);
    thrown<durstream::InvalidArgumentError>([&] { options.header("Producer-Id", "x"); });
    thrown<durstream::InvalidArgumentError>([&] { options.set({"a\0b", 3}, "x"); });
    thrown<durstream::InvalidArgumentError>([&] { options.header({"a\0b", 3}, [] { return ""; }); });
    thrown<durstream::InvalidArgumentError>([&] { options.header("Producer-Id", [] { return ""; }); });
    thrown<durstream::InvalidArgumentError>(
        [&] { options.header("a", durstream::HeaderFunction()); });
    thrown<durstream::InvalidArgumentError>([&] { durstream::DurableStream::connect(options); });
    thrown<durstream::InvalidArgumentError>([&] { shipments().add("b", "shipment", "id"); });
    thrown<durstream::TimeoutError>([] { // every leaf is an Error, and that a runtime_error
        durstream::detail::raise(DURSTREAM_TIMEOUT, nullptr);
    });
    thrown<std::runtime_error>([] { durstream::detail::raise(DURSTREAM_FORKED, nullptr); });
}

void threads_share_a_producer() {
    const std::string path = fresh_path("face-threads");
    const auto stream = json_stream(path);
    durstream::IdempotentProducer producer(stream, "threads");
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&] {
            for (int n = 0; n < 250; n++) producer.append(R"({"n":0})");
        });
    for (auto &thread : threads) thread.join();
    CHECK(producer.detach(30s).delivered == 1000);
    CHECK(occurrences(contents(path).c_str(), "{\"n\":0}") == 1000);
}

/// A service that is restarted: this program itself, once per run.
int service(const std::string &path, int run) {
    {
        const auto stream = json_stream(path);
        durstream::IdempotentProducer producer(stream, "restarted");
        for (int n = run * 200; n < (run + 1) * 200; n++)
            producer.append("{\"n\":" + std::to_string(n) + "}");
        const auto report = producer.detach(30s);
        CHECK(report.delivered == 200 && report.duplicates == 0);
    }
    durstream::shutdown(5s);
    return 0;
}

void an_outbox_keeps_what_is_pending(const std::string &program) {
    const std::string path = fresh_path("face-outbox");
    char made[] = "/tmp/durstream-face-XXXXXX";
    CHECK(mkdtemp(made) != nullptr);
    const std::string folder = std::string(made) + "/outbox";
    const auto stream = json_stream(path);
    durstream::Options where = options_at(path), options;
    where.set("content_type", "application/json").set("proxy", "http://127.0.0.1:9"); // nobody is there
    const auto away = durstream::DurableStream::connect(where);
    options.set("outbox_dir", folder);
    {
        durstream::IdempotentProducer first(away, "kept", options);
        const auto receipt = first.append("{\"n\":0}");
        try {
            durstream::IdempotentProducer(away, "kept", options);
            CHECK(false);
        } catch (const durstream::OutboxInUseError &error) {
            CHECK(error.code() == DURSTREAM_OUTBOX_IN_USE);
        }
        first.stop();
        CHECK(first.wait(receipt, 30s).status == DURSTREAM_STATUS_KEPT);
        try {
            first.flush(30s);
            CHECK(false);
        } catch (const durstream::DeliveryError &error) {
            CHECK(error.kept() == 1 && error.undelivered() == 1 && error.delivered() == 0);
        }
        CHECK(first.stats().kept == 1);
    }
    {
        durstream::IdempotentProducer second(stream, "kept", options);
        CHECK(second.stats().recovered == 1);
        second.append("{\"n\":1}");
        CHECK(second.detach(30s).delivered == 2);
    }
    {
        durstream::IdempotentProducer third(away, "kept", options);
        third.append("{\"n\":2}");
        CHECK(third.discard_outbox(30s) == 1);
    }
    check_numbers(path.c_str(), 2);
    CHECK(std::system(("rm -r '" + std::string(made) + "'").c_str()) == 0);
    const std::string taken = program + "/outbox"; // below a file
    options.set("outbox_dir", taken);
    try {
        durstream::IdempotentProducer(away, "kept", options);
        CHECK(false);
    } catch (const durstream::OutboxFailedError &error) {
        CHECK(std::string(error.what()).find(taken) != std::string::npos);
    }
}

void restarts_lose_nothing(const std::string &program) {
    const std::string path = fresh_path("face-restart");
    for (const char *run : {"0", "1"})
        CHECK(std::system(("'" + program + "' " + path + " " + run).c_str()) == 0);
    check_numbers(path.c_str(), 400);
}

} // namespace

int main(int count, char **arguments) {
    if (count == 3) return service(arguments[1], std::stoi(arguments[2]));
    durstream_set_log(nullptr, nullptr);
    CHECK(durstream::version().size() >= 5);
    producers_write();
    streams_append();
    streams_are_read();
    states_are_told();
    state_answers_with_receipts();
    events_say_what_they_were_told();
    entities_have_types();
    transactions_stay_together();
    callbacks_are_wrapped();
    an_empty_callback_is_none();
    the_log_has_fields_and_levels();
    tags_come_back();
    holders_are_told_each();
    headers_are_asked_for();
    accessors_tell();
    a_dropped_offset_is_named();
    numbers_know_no_locale();
    fenced_ones_come_back();
    fenced_state_producers_come_back();
    room_is_bounded();
    nul_is_named();
    bad_input_throws();
    threads_share_a_producer();
    restarts_lose_nothing(arguments[0]);
    an_outbox_keeps_what_is_pending(arguments[0]);
    begin_recording();
    streams_append();
    streams_are_read();
    states_are_told();
    state_answers_with_receipts();
    events_say_what_they_were_told();
    transactions_stay_together();
    end_recording();
    durstream::flush_all(30s);
    CHECK(durstream::pending_count() == 0);
    durstream::shutdown(5s);
    return 0;
}
