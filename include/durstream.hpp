// durstream.hpp: the C++17 face of libdurstream, header-only over durstream.h.
//
//   durstream::Options options;
//   options.set("url", "http://localhost:4437/v1/stream/events")
//          .set("content_type", "application/json");
//   auto stream = durstream::DurableStream::create(options);
//   durstream::IdempotentProducer producer(stream, "my-service");
//   producer.append(R"({"type":"order.created","orderId":"123"})");
//   producer.flush();
//
// A call that fails throws a leaf of durstream::Error; only writes of a StateProducer answer a
// refusal with a Receipt (accepted() false), unless the option `strict` is set. Classes are
// move-only and safe to use from any thread, their moving and destruction excepted. Time limits are
// std::chrono::milliseconds, `no_limit` by default (`shutdown_limit` for shutdown). A destructor of
// a producer delivers accepted writes, for at most `destructor_limit`, and never throws: it reports
// to the error callback, on its own thread. Callbacks run on the library's thread; their exceptions
// end there.
//
// It compiles without warnings whatever warnings a program turns on, and without RTTI. It reports
// errors by exceptions: a program that has none (-fno-exceptions) uses durstream.h, which returns
// codes.
#ifndef DURSTREAM_HPP
#define DURSTREAM_HPP

#if defined(_MSVC_LANG) ? _MSVC_LANG < 201703L : __cplusplus < 201703L
#error "durstream.hpp needs C++17 (-std=c++17, /std:c++17); durstream.h serves C++11 and later"
#elif !defined(__cpp_exceptions) && !defined(__EXCEPTIONS) && !defined(_CPPUNWIND)
#error "durstream.hpp throws, and exceptions are off here: use durstream.h, which returns codes"
#else
/// This face can be used: for the headers that build on it.
#define DURSTREAM_CPP

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <iterator>
#include <limits>
#include <locale>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "durstream.h"

#if defined(__clang__) && defined(__has_warning)
#pragma clang diagnostic push
// A header without a library has no other place for the tables of its exceptions.
#if __has_warning("-Wweak-vtables")
#pragma clang diagnostic ignored "-Wweak-vtables"
#endif
// C gives arrays as pointers; std::span is not in C++17.
#if __has_warning("-Wunsafe-buffer-usage")
#pragma clang diagnostic ignored "-Wunsafe-buffer-usage"
#endif
#endif

namespace durstream {

using Code = durstream_code;
using Status = durstream_status;
using Reason = durstream_reason;
using Lifecycle = durstream_lifecycle;
using FlushReport = durstream_flush_report;
using Stats = durstream_stats;
using Distribution = durstream_distribution;
using Operation = durstream_operation;
using Control = durstream_control;
using Limit = std::chrono::milliseconds;

inline constexpr Limit no_limit{-1};
/// How long the destructor of a producer waits for accepted writes.
inline constexpr Limit destructor_limit{5000};
/// How long a shutdown waits for them, as the end of the process does.
inline constexpr Limit shutdown_limit{3000};

inline std::string_view name_of(Status status) { return durstream_status_name(status); }
inline std::string_view name_of(Reason reason) { return durstream_reason_name(reason); }
inline std::string_view name_of(Code code) { return durstream_code_name(code); }
inline std::string_view name_of(Lifecycle state) { return durstream_lifecycle_name(state); }

// --- Errors ----------------------------------------------------------------------------------

/// One finding of a validator.
struct Issue {
    /// Where in the value, as a JSON Pointer (`/address/city`); empty for the whole value.
    std::string path;
    /// The text: what is wrong there.
    std::string message;
};

/// The exception of a call that fails. Cheap to copy.
class Error : public std::runtime_error {
public:
    /// A copy of the library's error; `raw` may be null.
    Error(Code code, const durstream_error *raw)
        : std::runtime_error(raw ? durstream_error_message(raw) : durstream_code_name(code)),
          data_(std::make_shared<const Data>(code, raw)) {}

    Code code() const noexcept { return data_->code; }
    /// Why a write was refused (`invalid-key`, ...); empty for other errors.
    const std::string &reason() const noexcept { return data_->reason; }
    /// The stream's URL, without user info and query; may be empty.
    const std::string &url() const noexcept { return data_->url; }
    /// The HTTP status, 0 where there was no answer.
    int status() const noexcept { return data_->status; }
    /// Whether the same call may succeed later.
    bool retryable() const noexcept { return data_->retryable; }
    /// Whether it is certain that the data is not in the stream.
    bool definite() const noexcept { return data_->definite; }
    /// Everything known about the error, as a JSON object.
    const std::string &json() const noexcept { return data_->json; }

protected:
    /// An argument that does not reach the library.
    Error(const char *argument, const std::string &message)
        : std::runtime_error(message), data_(about(argument)) {}

    static std::string text(const char *raw) { return raw ? raw : ""; }

    struct Data {
        Data(Code from, const durstream_error *raw)
            : code(from), reason(text(durstream_error_reason(raw))),
              option(text(durstream_error_option(raw))), url(text(durstream_error_url(raw))),
              final_offset(text(durstream_error_final_offset(raw))),
              earliest_offset(text(durstream_error_earliest_offset(raw))),
              json(text(durstream_error_json(raw))), status(durstream_error_status(raw)),
              retryable(durstream_error_retryable(raw)), definite(durstream_error_definite(raw)),
              current_epoch(durstream_error_current_epoch(raw)),
              delivered(durstream_error_delivered(raw)),
              undelivered(durstream_error_undelivered(raw)), kept(durstream_error_kept(raw)),
              expected_seq(durstream_error_expected_seq(raw)),
              received_seq(durstream_error_received_seq(raw)),
              collection(text(durstream_error_collection(raw))), key(), issues(), cause() {
            if (const char *known = durstream_error_key(raw)) key = known;
            for (std::size_t n = 0; n < durstream_error_issue_count(raw); n++)
                issues.push_back({text(durstream_error_issue_path(raw, n)),
                                  text(durstream_error_issue_message(raw, n))});
            if (const durstream_error *first = durstream_error_cause(raw))
                cause = std::make_shared<const Error>(durstream_error_code(first), first);
        }
        Code code;
        std::string reason, option, url, final_offset, earliest_offset, json;
        int status;
        bool retryable, definite;
        std::uint64_t current_epoch, delivered, undelivered, kept, expected_seq, received_seq;
        std::string collection;
        std::optional<std::string> key;
        std::vector<Issue> issues;
        std::shared_ptr<const Error> cause;
    };
    static std::shared_ptr<const Data> about(const char *argument) {
        auto data = std::make_shared<Data>(DURSTREAM_INVALID_ARGUMENT, nullptr);
        data->option = argument;
        data->definite = true;
        return data;
    }

    std::shared_ptr<const Data> data_;
};

/// An option, URL, schema or argument is missing or wrong: option() names it.
class InvalidArgumentError final : public Error {
public:
    using Error::Error;
    /// A text of C++ that C cannot take.
    explicit InvalidArgumentError(const char *argument)
        : Error(argument, std::string("`") + argument + "` holds a NUL character") {}
    const std::string &option() const noexcept { return data_->option; }
};
/// A value was refused before it was accepted: by the schema, for its key, or as no JSON.
class ValidationError final : public Error {
public:
    using Error::Error;
    /// The collection; empty for plain appends.
    const std::string &collection() const noexcept { return data_->collection; }
    /// The entity's key, where it was known.
    const std::optional<std::string> &key() const noexcept { return data_->key; }
    /// The findings of the validator.
    const std::vector<Issue> &issues() const noexcept { return data_->issues; }
};
/// Another producer with the same id took over.
class StaleEpochError final : public Error {
public:
    using Error::Error;
    std::uint64_t current_epoch() const noexcept { return data_->current_epoch; }
};
/// The server expects another sequence number of this producer.
class SequenceGapError final : public Error {
public:
    using Error::Error;
    std::uint64_t expected_seq() const noexcept { return data_->expected_seq; }
    /// The sequence number that was sent.
    std::uint64_t received_seq() const noexcept { return data_->received_seq; }
};
/// The stream has ended.
class StreamClosedError final : public Error {
public:
    using Error::Error;
    /// Where the stream ended; empty if the server did not say.
    const std::string &final_offset() const noexcept { return data_->final_offset; }
};
/// The stream was deleted (of a read: reason() is `gone`), or the server no longer keeps what a read
/// asked for (`offset-gone`).
class StreamGoneError final : public Error {
public:
    using Error::Error;
    /// The earliest offset that can still be read; empty if the server did not say.
    const std::string &earliest_offset() const noexcept { return data_->earliest_offset; }
};
/// Writes since the last flush were not delivered.
class DeliveryError final : public Error {
public:
    using Error::Error;
    std::uint64_t delivered() const noexcept { return data_->delivered; }
    std::uint64_t undelivered() const noexcept { return data_->undelivered; }
    /// Of these, the writes that stay in the outbox: they are delivered once the producer is opened
    /// again.
    std::uint64_t kept() const noexcept { return data_->kept; }
    /// The first failure.
    const Error &cause() const noexcept { return data_->cause ? *data_->cause : *this; }
};
class TooLargeError final : public Error { using Error::Error; };
class BufferFullError final : public Error { using Error::Error; };
class ProducerClosedError final : public Error { using Error::Error; };
class SequenceConflictError final : public Error { using Error::Error; };
class StreamNotFoundError final : public Error { using Error::Error; };
class StreamExistsError final : public Error { using Error::Error; };
class ConflictError final : public Error { using Error::Error; };
class UnauthorizedError final : public Error { using Error::Error; };
class NotSupportedError final : public Error { using Error::Error; };
class ProtocolError final : public Error { using Error::Error; };
class TransportError final : public Error { using Error::Error; };
/// A time limit ran out; the operation goes on.
class TimeoutError final : public Error {
public:
    using Error::Error;
    /// The failure that the producer was in; this error itself if it was in none.
    const Error &cause() const noexcept { return data_->cause ? *data_->cause : *this; }
};
class ForkedError final : public Error { using Error::Error; };
class InternalError final : public Error { using Error::Error; };
class OutboxInUseError final : public Error { using Error::Error; };
class OutboxDamagedError final : public Error { using Error::Error; };
class OutboxFailedError final : public Error { using Error::Error; };

namespace detail {

/// Calls `use` with the leaf of a code.
template <class Use>
auto with_leaf(Code code, const durstream_error *raw, Use use) {
    // As a number: a later library may return codes that this header does not know.
    switch (static_cast<std::int32_t>(code)) {
    case DURSTREAM_INVALID_ARGUMENT: return use(InvalidArgumentError(code, raw));
    case DURSTREAM_VALIDATION: return use(ValidationError(code, raw));
    case DURSTREAM_TOO_LARGE: return use(TooLargeError(code, raw));
    case DURSTREAM_BUFFER_FULL: return use(BufferFullError(code, raw));
    case DURSTREAM_PRODUCER_CLOSED: return use(ProducerClosedError(code, raw));
    case DURSTREAM_STALE_EPOCH: return use(StaleEpochError(code, raw));
    case DURSTREAM_SEQUENCE_GAP: return use(SequenceGapError(code, raw));
    case DURSTREAM_SEQUENCE_CONFLICT: return use(SequenceConflictError(code, raw));
    case DURSTREAM_STREAM_CLOSED: return use(StreamClosedError(code, raw));
    case DURSTREAM_STREAM_NOT_FOUND: return use(StreamNotFoundError(code, raw));
    case DURSTREAM_STREAM_GONE: return use(StreamGoneError(code, raw));
    case DURSTREAM_STREAM_EXISTS: return use(StreamExistsError(code, raw));
    case DURSTREAM_CONFLICT: return use(ConflictError(code, raw));
    case DURSTREAM_UNAUTHORIZED: return use(UnauthorizedError(code, raw));
    case DURSTREAM_NOT_SUPPORTED: return use(NotSupportedError(code, raw));
    case DURSTREAM_PROTOCOL: return use(ProtocolError(code, raw));
    case DURSTREAM_TRANSPORT: return use(TransportError(code, raw));
    case DURSTREAM_TIMEOUT: return use(TimeoutError(code, raw));
    case DURSTREAM_DELIVERY: return use(DeliveryError(code, raw));
    case DURSTREAM_FORKED: return use(ForkedError(code, raw));
    case DURSTREAM_INTERNAL: return use(InternalError(code, raw));
    case DURSTREAM_OUTBOX_IN_USE: return use(OutboxInUseError(code, raw));
    case DURSTREAM_OUTBOX_DAMAGED: return use(OutboxDamagedError(code, raw));
    case DURSTREAM_OUTBOX_FAILED: return use(OutboxFailedError(code, raw));
    default: return use(Error(code, raw));
    }
}

inline std::shared_ptr<const Error> leaf(Code code, const durstream_error *raw) {
    return with_leaf(code, raw, [](auto error) -> std::shared_ptr<const Error> {
        return std::make_shared<decltype(error)>(std::move(error));
    });
}

struct Throw {
    template <class Leaf>
    [[noreturn]] void operator()(Leaf leaf) const { throw leaf; }
};

[[noreturn]] inline void raise(Code code, const durstream_error *raw) {
    with_leaf(code, raw, Throw());
    std::terminate(); // not reached: every leaf throws
}

/// Receives the error of a call.
class Slot {
public:
    Slot() = default;
    Slot(const Slot &) = delete;
    Slot &operator=(const Slot &) = delete;
    ~Slot() { durstream_error_free(raw_); }
    durstream_error **out() noexcept { return &raw_; }
    const durstream_error *get() const noexcept { return raw_; }
    void check(Code code) const {
        if (code != DURSTREAM_OK) raise(code, raw_);
    }

private:
    durstream_error *raw_ = nullptr;
};

template <auto Free>
struct Deleter {
    template <class T>
    void operator()(T *raw) const noexcept { Free(raw); }
};
template <class T, auto Free>
using Handle = std::unique_ptr<T, Deleter<Free>>;

/// A text as C takes it: it must not hold NUL.
class Text {
public:
    Text(std::string_view text, const char *what) : text_(text) {
        if (text_.find('\0') != std::string::npos) throw InvalidArgumentError(what);
    }
    const char *get() const noexcept { return text_.c_str(); }

private:
    std::string text_;
};

/// A text that may be left out.
class OptionalText {
public:
    OptionalText(const std::optional<std::string_view> &text, const char *what) {
        if (text) text_.emplace(*text, what);
    }
    const char *get() const noexcept { return text_ ? text_->get() : nullptr; }

private:
    std::optional<Text> text_{};
};

inline const std::uint8_t *bytes(std::string_view text) noexcept {
    return reinterpret_cast<const std::uint8_t *>(text.data());
}

/// A message that was given is never NULL, an empty one neither.
inline const std::uint8_t *bytes(const std::optional<std::string_view> &text) noexcept {
    if (!text) return nullptr;
    return bytes(text->data() ? *text : std::string_view(""));
}

inline std::string text(const char *raw) { return raw ? raw : ""; }

/// Takes over a text of the library, and frees it.
inline std::optional<std::string> taken(char *raw) {
    Handle<char, durstream_string_free> owner(raw);
    return raw ? std::optional<std::string>(raw) : std::nullopt;
}

/// Takes over an error of the library, and frees it.
inline std::shared_ptr<const Error> taken(durstream_error *raw) {
    Handle<durstream_error, durstream_error_free> owner(raw);
    return raw ? leaf(durstream_error_code(raw), raw) : nullptr;
}

inline FlushReport report() noexcept {
    FlushReport report{};
    report.size = sizeof report;
    return report;
}

} // namespace detail

// --- Outcomes --------------------------------------------------------------------------------

/// The outcome of a write.
struct Outcome {
    Status status = DURSTREAM_STATUS_DELIVERED;
    Reason reason = DURSTREAM_REASON_NONE;
    bool duplicate = false;
    bool maybe_duplicate = false;
    std::uint32_t attempts = 0;
    /// An offset behind the write, if it was delivered: that after its own batch where it is still
    /// known, else a later one. A reader that has come that far has the write. Empty if there is none.
    std::string offset{};
    /// Null if it was delivered.
    std::shared_ptr<const Error> error{};

    bool delivered() const noexcept { return status == DURSTREAM_STATUS_DELIVERED; }

    Outcome() = default;
    explicit Outcome(const durstream_outcome *raw)
        : status(durstream_outcome_status(raw)), reason(durstream_outcome_reason(raw)),
          duplicate(durstream_outcome_duplicate(raw)),
          maybe_duplicate(durstream_outcome_maybe_duplicate(raw)),
          attempts(durstream_outcome_attempts(raw)),
          offset(detail::text(durstream_outcome_offset(raw))) {
        if (const durstream_error *why = durstream_outcome_error(raw))
            error = detail::leaf(durstream_error_code(why), why);
    }
};

/// What a change says beside its entity.
struct Event {
    /// The transaction that the change belongs to, not empty.
    std::optional<std::string_view> txid{};
    /// When the change happened: a time in RFC 3339, or `now`.
    std::optional<std::string_view> timestamp{};
    /// Further headers, by name: none of the protocol's own, and none at all where the option
    /// `operations` is `strict`.
    std::vector<std::pair<std::string_view, std::string_view>> headers{};
    /// The key where the value does not hold it.
    std::optional<std::string_view> key{};
    /// The entity's state before, as JSON.
    std::optional<std::string_view> old_value{};
    /// A number that comes back in this holder's callbacks; 0 for none.
    std::uint64_t tag = 0;
    /// The context of the trace that the call belongs to, as W3C Trace Context writes it. Events carry
    /// it where the option `trace` is set; one that is none is left out, and logged once.
    std::optional<std::string_view> traceparent{};
    /// What tracing systems keep beside the `traceparent`.
    std::optional<std::string_view> tracestate{};
};

namespace detail {

/// An event as C takes it.
class RawEvent {
public:
    explicit RawEvent(const Event &event)
        : txid_(event.txid, "txid"), timestamp_(event.timestamp, "timestamp"),
          key_(event.key, "key"), traceparent_(event.traceparent, "traceparent"),
          tracestate_(event.tracestate, "tracestate") {
        texts_.reserve(2 * event.headers.size());
        for (const auto &[name, value] : event.headers) {
            texts_.emplace_back(name, "headers");
            texts_.emplace_back(value, "headers");
        }
        for (const Text &text : texts_) pointers_.push_back(text.get());
        raw_.size = sizeof raw_;
        raw_.txid = txid_.get();
        raw_.timestamp = timestamp_.get();
        raw_.headers = pointers_.data();
        raw_.header_count = event.headers.size();
        raw_.key = key_.get();
        raw_.old_value = bytes(event.old_value);
        raw_.old_value_length = event.old_value ? event.old_value->size() : 0;
        raw_.tag = event.tag;
        raw_.traceparent = traceparent_.get();
        raw_.tracestate = tracestate_.get();
    }
    RawEvent(const RawEvent &) = delete;
    RawEvent &operator=(const RawEvent &) = delete;
    const durstream_event *get() const noexcept { return &raw_; }

private:
    OptionalText txid_, timestamp_, key_, traceparent_, tracestate_;
    std::vector<Text> texts_{};
    std::vector<const char *> pointers_{};
    durstream_event raw_{};
};

} // namespace detail

/// The receipt of a write: its id, or why it was refused.
class Receipt {
public:
    explicit Receipt(std::uint64_t id) noexcept : id_(id) {}
    explicit Receipt(std::shared_ptr<const Error> error) noexcept : error_(std::move(error)) {}

    /// From 1 in call order; 0 if it was refused.
    std::uint64_t id() const noexcept { return id_; }
    bool accepted() const noexcept { return !error_; }
    /// Why it was refused (`invalid-key`, ...); empty if it was not.
    std::string_view reason() const noexcept {
        return error_ ? std::string_view(error_->reason()) : std::string_view();
    }
    /// Null if it was accepted.
    const std::shared_ptr<const Error> &error() const noexcept { return error_; }

private:
    std::uint64_t id_ = 0;
    std::shared_ptr<const Error> error_{};
};

/// A write that was not delivered, as the error callback receives it.
struct Failure {
    /// The receipt id; 0 for a failure that is not about one write, such as a destructor's report.
    std::uint64_t id;
    /// The tag the write was made with; 0 for none.
    std::uint64_t tag;
    /// The write's bytes; they end with the callback.
    std::string_view payload;
    Outcome outcome;
    /// The error as a leaf: `dynamic_cast` tells which. Never null.
    std::shared_ptr<const Error> error;
};

/// Writes that were delivered together, as the delivery callback receives them.
struct Delivery {
    /// The receipt id of the first write; the others follow it.
    std::uint64_t first_id;
    /// How many writes.
    std::size_t count;
    /// Their tags; null where none has one. They end with the callback.
    const std::uint64_t *tags;
    Outcome outcome;

    /// The tag of the write with the id `first_id + n`; 0 for none.
    std::uint64_t tag(std::size_t n) const noexcept { return tags ? tags[n] : 0; }
};

/// A change of a producer's state, as the state callback receives it.
struct StateChange {
    Lifecycle from;
    Lifecycle to;
    /// The failure that is the reason, as a leaf; null where none is.
    std::shared_ptr<const Error> error;
};

using ErrorCallback = std::function<void(const Failure &)>;
using StateCallback = std::function<void(const StateChange &)>;
using DeliveryCallback = std::function<void(const Delivery &)>;
/// Gives a header's value for one request; an exception says that there is none now.
using HeaderFunction = std::function<std::string()>;

namespace detail {

using SharedCallback = std::shared_ptr<const ErrorCallback>;

/// No exception leaves a callback.
template <class Call>
void contained(const char *what, Call call) noexcept {
    try {
        call();
    } catch (const std::exception &thrown) {
        std::fprintf(stderr, "durstream: %s callback threw: %s\n", what, thrown.what());
    } catch (...) {
        std::fprintf(stderr, "durstream: %s callback threw\n", what);
    }
}

inline void on_error(const durstream_failure *raw, void *user_data) noexcept {
    contained("an error", [&] {
        std::size_t length = 0;
        const void *payload = durstream_failure_payload(raw, &length);
        const durstream_error *error = durstream_failure_error(raw);
        (**static_cast<SharedCallback *>(user_data))(
            Failure{durstream_failure_id(raw), durstream_failure_tag(raw),
                    std::string_view(static_cast<const char *>(payload), length),
                    Outcome(durstream_failure_outcome(raw)),
                    leaf(durstream_error_code(error), error)});
    });
}

inline void on_delivery(const durstream_delivery *raw, void *user_data) noexcept {
    contained("a delivery", [&] {
        (*static_cast<DeliveryCallback *>(user_data))(
            Delivery{durstream_delivery_first_id(raw), durstream_delivery_count(raw),
                     durstream_delivery_tags(raw), Outcome(durstream_delivery_outcome(raw))});
    });
}

inline void on_state(const durstream_transition *raw, void *user_data) noexcept {
    contained("a state", [&] {
        const durstream_error *error = durstream_transition_error(raw);
        (*static_cast<StateCallback *>(user_data))(
            StateChange{durstream_transition_from(raw), durstream_transition_to(raw),
                        error ? leaf(durstream_error_code(error), error) : nullptr});
    });
}

/// Frees the box of a callback once the library is done with it.
template <class T>
void destroy(void *user_data) noexcept {
    delete static_cast<T *>(user_data);
}

/// Calls the function, on the library's thread.
inline void on_header(durstream_header_answer *answer, void *user_data) noexcept {
    try {
        const std::string value = (*static_cast<HeaderFunction *>(user_data))();
        const bool whole = value.find('\0') == std::string::npos;
        if (whole) durstream_header_answer_give(answer, value.c_str());
        else durstream_header_answer_fail(answer, "the value holds a NUL character");
    } catch (const std::exception &thrown) {
        durstream_header_answer_fail(answer, thrown.what());
    } catch (...) {
        durstream_header_answer_fail(answer, "it threw");
    }
}

/// Reports a destructor's failure to the callback, if there is one.
inline void report(const SharedCallback &callback, Code code, const Slot &slot) noexcept {
    if (code == DURSTREAM_OK || code == DURSTREAM_FORKED || !callback || !*callback) return;
    contained("an error", [&] { (*callback)(Failure{0, 0, {}, {}, leaf(code, slot.get())}); });
}

} // namespace detail

// --- Options ---------------------------------------------------------------------------------

/// Settings by name, the same in every language. An open copies them.
class Options {
public:
    /// Everything begins with options: a library older than this header is refused here.
    Options() : raw_(durstream_options_new()) {
        detail::Slot error;
        error.check(DURSTREAM_CHECK_VERSION(error.out()));
    }

    Options &set(std::string_view name, std::string_view value) {
        detail::Text n(name, "name"), v(value, "value");
        detail::Slot error;
        error.check(durstream_options_set(raw_.get(), n.get(), v.get(), error.out()));
        if (name == "strict") strict_ = value == "true";
        return *this;
    }
    template <class T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
    Options &set(std::string_view name, T value) {
        if constexpr (std::is_same_v<T, bool>) return set(name, value ? "true" : "false");
        else if constexpr (std::is_integral_v<T>)
            return set(name, std::string_view(std::to_string(value)));
        else return set(name, std::string_view(decimal(value)));
    }
    Options &header(std::string_view name, std::string_view value) {
        detail::Text n(name, "name"), v(value, "value");
        detail::Slot error;
        error.check(durstream_options_set_header(raw_.get(), n.get(), v.get(), error.out()));
        return *this;
    }
    /// Adds a header whose value a function gives: it is called once per request, and again after
    /// 401 or 403, on the library's thread. While it throws, writes wait as in an outage.
    Options &header(std::string_view name, HeaderFunction function) {
        detail::Text n(name, "name");
        auto boxed = std::make_unique<HeaderFunction>(std::move(function));
        detail::Slot error;
        error.check(durstream_options_set_header_fn(raw_.get(), n.get(),
                                                    *boxed ? detail::on_header : nullptr,
                                                    boxed.get(),
                                                    detail::destroy<HeaderFunction>, error.out()));
        static_cast<void>(boxed.release());
        return *this;
    }
    /// Adds a parameter to the query of every request's URL.
    Options &param(std::string_view name, std::string_view value) {
        detail::Text n(name, "name"), v(value, "value");
        detail::Slot error;
        error.check(durstream_options_set_param(raw_.get(), n.get(), v.get(), error.out()));
        return *this;
    }
    /// Sets the callback for each accepted write that is not delivered; an empty function takes it
    /// away. It may run before the call that made the write has returned: its tag identifies the
    /// write.
    Options &on_error(ErrorCallback callback) {
        const bool given = static_cast<bool>(callback);
        auto shared = std::make_shared<const ErrorCallback>(std::move(callback));
        auto boxed = std::make_unique<detail::SharedCallback>(shared);
        detail::Slot error;
        error.check(durstream_options_on_error(raw_.get(), given ? detail::on_error : nullptr,
                                               boxed.get(),
                                               detail::destroy<detail::SharedCallback>,
                                               error.out()));
        if (given) static_cast<void>(boxed.release());
        callback_ = std::move(shared);
        return *this;
    }
    /// Sets the callback for the writes that are delivered, a batch at a time in the order of the
    /// calls; an empty function takes it away. Reports that wait count against `max_buffer_bytes`.
    Options &on_delivery(DeliveryCallback callback) {
        const bool given = static_cast<bool>(callback);
        auto boxed = std::make_unique<DeliveryCallback>(std::move(callback));
        detail::Slot error;
        error.check(durstream_options_on_delivery(raw_.get(), given ? detail::on_delivery : nullptr,
                                                  boxed.get(), detail::destroy<DeliveryCallback>,
                                                  error.out()));
        if (given) static_cast<void>(boxed.release());
        return *this;
    }

    /// Sets the callback for the changes of the producer's state, in their order; an empty function
    /// takes it away.
    Options &on_state(StateCallback callback) {
        const bool given = static_cast<bool>(callback);
        auto boxed = std::make_unique<StateCallback>(std::move(callback));
        detail::Slot error;
        error.check(durstream_options_on_state(raw_.get(), given ? detail::on_state : nullptr,
                                               boxed.get(), detail::destroy<StateCallback>,
                                               error.out()));
        if (given) static_cast<void>(boxed.release());
        return *this;
    }

    const durstream_options *get() const noexcept { return raw_.get(); }
    bool strict() const noexcept { return strict_; }
    const detail::SharedCallback &callback() const noexcept { return callback_; }

private:
    /// Writes a number with a point and every digit, whatever the program's locale.
    template <class T>
    static std::string decimal(T value) {
        std::ostringstream out;
        out.imbue(std::locale::classic());
        out.precision(std::numeric_limits<T>::max_digits10);
        out << value;
        return out.str();
    }

    detail::Handle<durstream_options, durstream_options_free> raw_;
    detail::SharedCallback callback_{};
    bool strict_ = false;
};

// --- Reading ---------------------------------------------------------------------------------

/// A stream's metadata, and where it ends.
struct Metadata {
    /// Whether the stream exists; if not, nothing else is known either.
    bool exists = false;
    /// Empty where the server does not say it.
    std::string content_type;
    /// The offset of the tail, where the next message will begin: opaque.
    std::string offset;
    bool stream_closed = false;
    /// The lifetime since the last read or write, if there is one.
    std::optional<std::uint64_t> ttl_seconds{};
    /// When the stream expires (RFC 3339); empty if that is not fixed.
    std::string expires_at;

    Metadata() = default;
    explicit Metadata(const durstream_metadata *raw)
        : exists(durstream_metadata_exists(raw)),
          content_type(detail::text(durstream_metadata_content_type(raw))),
          offset(detail::text(durstream_metadata_offset(raw))),
          stream_closed(durstream_metadata_stream_closed(raw)),
          expires_at(detail::text(durstream_metadata_expires_at(raw))) {
        std::uint64_t seconds = 0;
        if (durstream_metadata_ttl_seconds(raw, &seconds)) ttl_seconds = seconds;
    }
};

/// A part of a stream, from one answer of the server, or from several where a server's answers end
/// inside a JSON message. Never empty; its messages are whole. Its views live as long as the chunk.
class Chunk {
public:
    /// Takes over a chunk of `durstream_reader_next`.
    explicit Chunk(durstream_chunk *raw) noexcept : raw_(raw) {}

    /// The bytes; on a JSON stream an array of messages, or one message a line.
    std::string_view data() const noexcept {
        std::size_t length = 0;
        const std::uint8_t *bytes = durstream_chunk_data(get(), &length);
        return {reinterpret_cast<const char *>(bytes), length};
    }
    /// How many messages a JSON stream's chunk has; throws NotSupportedError on others.
    std::size_t item_count() const {
        detail::Slot error;
        std::size_t count = 0;
        error.check(durstream_chunk_item_count(get(), &count, error.out()));
        return count;
    }
    /// A message of a JSON stream in its own text, below item_count(). Cheap in any order.
    std::string_view item(std::size_t index) const noexcept {
        std::size_t length = 0;
        const std::uint8_t *item = durstream_chunk_item(get(), index, &length);
        return {reinterpret_cast<const char *>(item), length};
    }
    /// The messages of a JSON stream, each in its own text; throws NotSupportedError on others. The
    /// list takes 16 bytes for each: for many small messages item() takes less.
    std::vector<std::string_view> items() const {
        const std::size_t count = item_count();
        std::vector<std::string_view> items;
        items.reserve(count);
        for (std::size_t n = 0; n < count; n++) items.push_back(item(n));
        return items;
    }
    /// The offset behind it: opaque, for a later read.
    std::string_view offset() const noexcept {
        const char *offset = durstream_chunk_offset(get());
        return offset ? std::string_view(offset) : std::string_view();
    }
    /// Whether the stream had nothing behind it.
    bool up_to_date() const noexcept { return durstream_chunk_up_to_date(get()); }
    /// Whether the stream ends with it.
    bool stream_closed() const noexcept { return durstream_chunk_stream_closed(get()); }
    const durstream_chunk *get() const noexcept { return raw_.get(); }

private:
    detail::Handle<durstream_chunk, durstream_chunk_free> raw_;
};

/// Reads a stream from an offset to its present end, a chunk at a time:
/// `for (const durstream::Chunk &chunk : stream.read())`. One thread iterates.
class Reader {
public:
    /// Takes over a reader of `durstream_stream_read`.
    explicit Reader(durstream_reader *raw) noexcept : raw_(raw) {}

    /// The next chunk, none at the present end; a later call asks the server again. After a
    /// TimeoutError the next call gives the chunk that this one would have given.
    std::optional<Chunk> next(Limit limit = no_limit) {
        detail::Slot error;
        durstream_chunk *raw = nullptr;
        error.check(durstream_reader_next(get(), limit.count(), &raw, error.out()));
        return raw ? std::optional<Chunk>(raw) : std::nullopt;
    }
    /// The offset for a later read; none before anything was read from the start.
    std::optional<std::string> offset() const {
        return detail::taken(durstream_reader_offset(get()));
    }
    /// Whether the reader has reached the present end.
    bool up_to_date() const noexcept { return durstream_reader_up_to_date(get()); }
    /// Whether the stream has ended and the reader has reached its end.
    bool stream_closed() const noexcept { return durstream_reader_stream_closed(get()); }
    const durstream_reader *get() const noexcept { return raw_.get(); }

    /// Reads to the end, and throws as next() does.
    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Chunk;
        using difference_type = std::ptrdiff_t;
        using pointer = Chunk *;
        using reference = Chunk &;

        /// The end of the range.
        Iterator() = default;
        explicit Iterator(Reader *reader) : reader_(reader) { ++*this; }

        Chunk &operator*() const { return *reader_->chunk_; }
        Chunk *operator->() const { return &**this; }
        Iterator &operator++() {
            reader_->chunk_ = reader_->next();
            if (!reader_->chunk_) reader_ = nullptr;
            return *this;
        }
#if defined(__GNUC__)
#pragma GCC diagnostic push
// A copy would not be where it was: the chunk is the reader's. Input iterators may return void.
#pragma GCC diagnostic ignored "-Weffc++"
#endif
        void operator++(int) { ++*this; }
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
        bool operator==(const Iterator &other) const noexcept { return reader_ == other.reader_; }
        bool operator!=(const Iterator &other) const noexcept { return reader_ != other.reader_; }

    private:
        Reader *reader_ = nullptr;
    };
    Iterator begin() { return Iterator(this); }
    Iterator end() noexcept { return Iterator(); }

private:
    detail::Handle<durstream_reader, durstream_reader_free> raw_;
    /// The chunk that an iterator is at.
    std::optional<Chunk> chunk_{};
};

namespace detail {

/// A range on its way into a stream. Advancing and dereferencing may both throw, so both are left
/// to the call for the next message.
template <class At, class End>
struct Source {
    At at;
    End end;
    bool begun = false;

    static void next(durstream_source *to, void *user_data) noexcept {
        auto &self = *static_cast<Source *>(user_data);
        try {
            if (self.begun) ++self.at;
            self.begun = true;
            if (self.at == self.end) return;
            auto &&message = *self.at;
            const std::string_view view(message);
            durstream_source_give(to, bytes(view), view.size());
        } catch (const std::exception &thrown) {
            durstream_source_fail(to, thrown.what());
        } catch (...) {
            durstream_source_fail(to, "it threw");
        }
    }
};

template <class At, class End>
Source<At, End> source_of(At at, End end) {
    return {std::move(at), std::move(end)};
}

} // namespace detail

// --- Streams ---------------------------------------------------------------------------------

/// A stream by its URL.
class DurableStream {
public:
    /// Creates the stream; one that exists with the same configuration is fine. Blocks.
    static DurableStream create(const Options &options, std::string_view body = {}) {
        detail::Slot error;
        durstream_stream *raw = nullptr;
        error.check(durstream_stream_create(options.get(), detail::bytes(body), body.size(), &raw,
                                            error.out()));
        return DurableStream(raw);
    }
    /// A handle on a stream that exists or will exist. Sends nothing.
    static DurableStream connect(const Options &options) {
        detail::Slot error;
        durstream_stream *raw = nullptr;
        error.check(durstream_stream_connect(options.get(), &raw, error.out()));
        return DurableStream(raw);
    }

    /// Asks whether the stream exists, what it is and where it ends.
    Metadata head(Limit limit = no_limit) const {
        detail::Slot error;
        durstream_metadata *raw = nullptr;
        error.check(durstream_stream_head(get(), limit.count(), &raw, error.out()));
        detail::Handle<durstream_metadata, durstream_metadata_free> owner(raw);
        return Metadata(raw);
    }
    /// Appends one message and waits until it is delivered.
    Outcome append(std::string_view message, Limit limit = no_limit) const {
        detail::Slot error;
        durstream_outcome *raw = nullptr;
        error.check(durstream_stream_append(get(), detail::bytes(message), message.size(),
                                            limit.count(), &raw, error.out()));
        detail::Handle<durstream_outcome, durstream_outcome_free> owner(raw);
        return Outcome(raw);
    }
    /// Appends one message with a `Stream-Seq` and waits until it is delivered. Throws
    /// SequenceConflictError unless the `Stream-Seq` sorts after that of the last such message.
    Outcome append_seq(std::string_view message, std::string_view seq,
                       Limit limit = no_limit) const {
        detail::Text s(seq, "seq");
        detail::Slot error;
        durstream_outcome *raw = nullptr;
        error.check(durstream_stream_append_seq(get(), detail::bytes(message), message.size(),
                                                s.get(), limit.count(), &raw, error.out()));
        detail::Handle<durstream_outcome, durstream_outcome_free> owner(raw);
        return Outcome(raw);
    }
    /// Appends every message of a range, in order, and waits until all are delivered: many travel
    /// together. The range gives the next message only while there is room. On a stream that is not
    /// JSON, empty messages are skipped. An exception of the range ends it: DeliveryError counts
    /// the messages delivered before, and its cause() holds the text.
    template <class Range>
    FlushReport append_stream(Range &&messages) const {
        using std::begin;
        using std::end;
        auto source = detail::source_of(begin(messages), end(messages));
        FlushReport report = detail::report();
        detail::Slot error;
        error.check(durstream_stream_append_stream(get(), decltype(source)::next, &source, &report,
                                                   error.out()));
        return report;
    }
    /// A reader from an offset on, or from the start. Sends nothing. `live` says whether to follow
    /// the stream beyond its end: only "off" is supported for now, the others throw
    /// NotSupportedError.
    Reader read(std::optional<std::string_view> offset = std::nullopt,
                std::string_view live = "off") const {
        detail::Text from(offset.value_or(""), "offset"), way(live, "live");
        detail::Slot error;
        durstream_reader *raw = nullptr;
        error.check(durstream_stream_read_live(get(), offset ? from.get() : nullptr, way.get(),
                                               &raw, error.out()));
        return Reader(raw);
    }
    /// Ends the stream for everybody; returns its final offset, if the server said it.
    std::optional<std::string> close(std::optional<std::string_view> message = std::nullopt,
                                     Limit limit = no_limit) const {
        detail::Slot error;
        char *offset = nullptr;
        error.check(durstream_stream_close(get(), detail::bytes(message),
                                           message ? message->size() : 0, limit.count(), &offset,
                                           error.out()));
        return detail::taken(offset);
    }
    /// Deletes the stream with everything in it (`delete` is a keyword).
    void remove(Limit limit = no_limit) const {
        detail::Slot error;
        error.check(durstream_stream_delete(get(), limit.count(), error.out()));
    }
    std::string url() const { return detail::text(durstream_stream_url(get())); }
    const durstream_stream *get() const noexcept { return raw_.get(); }

private:
    explicit DurableStream(durstream_stream *raw) noexcept : raw_(raw) {}
    detail::Handle<durstream_stream, durstream_stream_free> raw_;
};

// --- Producers -------------------------------------------------------------------------------

namespace detail {

/// The functions of either producer, for `Producer`.
struct Messages {
    using Raw = durstream_producer;
    static constexpr auto free = durstream_producer_free;
    static constexpr auto wait = durstream_producer_wait;
    static constexpr auto flush = durstream_producer_flush;
    static constexpr auto wait_ready = durstream_producer_wait_ready;
    static constexpr auto let_go = durstream_producer_detach;
    static constexpr auto begin_shutdown = durstream_producer_begin_shutdown;
    static constexpr auto stop = durstream_producer_stop;
    static constexpr auto restart = durstream_producer_restart;
    static constexpr auto discard_outbox = durstream_producer_discard_outbox;
    static constexpr auto stats = durstream_producer_stats;
    static constexpr auto stats_prometheus = durstream_producer_stats_prometheus;
    static constexpr auto state = durstream_producer_state;
    static constexpr auto epoch = durstream_producer_epoch;
    static constexpr auto next_seq = durstream_producer_next_seq;
    static constexpr auto pending_count = durstream_producer_pending_count;
    static constexpr auto in_flight_count = durstream_producer_in_flight_count;
    static constexpr auto last_error = durstream_producer_last_error;
    static constexpr auto last_offset = durstream_producer_last_offset;
    static constexpr auto id = durstream_producer_id;
    static constexpr auto url = durstream_producer_url;
};
struct Entities {
    using Raw = durstream_state;
    static constexpr auto free = durstream_state_free;
    static constexpr auto wait = durstream_state_wait;
    static constexpr auto flush = durstream_state_flush;
    static constexpr auto wait_ready = durstream_state_wait_ready;
    /// Others may hold the producer: freeing the handle lets it go.
    static constexpr auto let_go = durstream_state_flush;
    static constexpr auto begin_shutdown = durstream_state_begin_shutdown;
    static constexpr auto stop = durstream_state_stop;
    static constexpr auto restart = durstream_state_restart;
    static constexpr auto discard_outbox = durstream_state_discard_outbox;
    static constexpr auto stats = durstream_state_stats;
    static constexpr auto stats_prometheus = durstream_state_stats_prometheus;
    static constexpr auto state = durstream_state_state;
    static constexpr auto epoch = durstream_state_epoch;
    static constexpr auto next_seq = durstream_state_next_seq;
    static constexpr auto pending_count = durstream_state_pending_count;
    static constexpr auto in_flight_count = durstream_state_in_flight_count;
    static constexpr auto last_error = durstream_state_last_error;
    static constexpr auto last_offset = durstream_state_last_offset;
    static constexpr auto id = durstream_state_id;
    static constexpr auto url = durstream_state_url;
};

/// The methods that both producers have.
template <class Calls>
class Producer {
public:
    using Raw = typename Calls::Raw;

    /// Waits for the outcome of an accepted write.
    Outcome wait(std::uint64_t id, Limit limit = no_limit) const {
        Slot error;
        durstream_outcome *raw = nullptr;
        error.check(Calls::wait(get(), id, limit.count(), &raw, error.out()));
        Handle<durstream_outcome, durstream_outcome_free> owner(raw);
        return Outcome(raw);
    }
    Outcome wait(const Receipt &receipt, Limit limit = no_limit) const {
        return wait(receipt.id(), limit);
    }
    /// Waits until everything accepted so far is settled; throws DeliveryError.
    FlushReport flush(Limit limit = no_limit) { return reported(Calls::flush, limit); }
    /// Waits until a write would find room, also the one that last found none; of a StateProducer,
    /// until its stream was created or found, too.
    void wait_ready(Limit limit = no_limit) const {
        Slot error;
        error.check(Calls::wait_ready(get(), limit.count(), error.out()));
    }
    /// No new writes, of any holder; accepted ones are delivered, then the producer stops by itself.
    void begin_shutdown() {
        Slot error;
        error.check(Calls::begin_shutdown(get(), error.out()));
    }
    /// Ends now, for all holders: pending writes settle as cancelled or unknown; with an outbox as
    /// kept, and they stay there.
    void stop() {
        Slot error;
        error.check(Calls::stop(get(), error.out()));
    }
    /// Begins a fresh session once everything accepted so far is settled; what is in the outbox of a
    /// fenced producer is delivered then. It is the way back after StaleEpochError.
    void restart(Limit limit = no_limit) {
        Slot error;
        error.check(Calls::restart(get(), limit.count(), error.out()));
    }
    /// Ends now, for all holders, and drops what the outbox holds: how many writes that were. They
    /// settle as cancelled or unknown. It is the other way out, beside `restart`, of a fenced producer.
    std::uint64_t discard_outbox(Limit limit = no_limit) {
        Slot error;
        std::uint64_t dropped = 0;
        error.check(Calls::discard_outbox(get(), limit.count(), &dropped, error.out()));
        return dropped;
    }

    Stats stats() const {
        Stats stats{};
        stats.size = sizeof stats;
        Slot error;
        error.check(Calls::stats(get(), &stats, error.out()));
        return stats;
    }
    /// The text for Prometheus about this producer, or as OpenMetrics.
    std::string stats_prometheus(bool openmetrics = false) const {
        return taken(Calls::stats_prometheus(get(), openmetrics ? 1 : 0)).value_or("");
    }
    Lifecycle state() const noexcept { return Calls::state(get()); }
    std::uint64_t epoch() const noexcept { return Calls::epoch(get()); }
    std::uint64_t next_seq() const noexcept { return Calls::next_seq(get()); }
    std::uint64_t pending_count() const noexcept { return Calls::pending_count(get()); }
    /// Requests under way.
    std::uint64_t in_flight_count() const noexcept { return Calls::in_flight_count(get()); }
    /// The most recent failure, transient ones included, as a leaf; null if there was none.
    std::shared_ptr<const Error> last_error() const { return taken(Calls::last_error(get())); }
    std::optional<std::string> last_offset() const { return taken(Calls::last_offset(get())); }
    std::string id() const { return text(Calls::id(get())); }
    std::string url() const { return text(Calls::url(get())); }
    const Raw *get() const noexcept { return raw_.get(); }

protected:
    explicit Producer(SharedCallback callback) : callback_(std::move(callback)) {}
    Producer(Producer &&) noexcept = default;
    Producer &operator=(Producer &&other) noexcept {
        if (this != &other) {
            let_go();
            raw_ = std::move(other.raw_);
            callback_ = std::move(other.callback_);
        }
        return *this;
    }
    ~Producer() { let_go(); }

    void opened(Raw *raw) noexcept { raw_.reset(raw); }
    template <class Call>
    FlushReport reported(Call call, Limit limit) {
        FlushReport report = detail::report();
        Slot error;
        error.check(call(get(), limit.count(), &report, error.out()));
        return report;
    }

private:
    void let_go() noexcept {
        if (!raw_) return;
        Slot error;
        const Code code = Calls::let_go(get(), destructor_limit.count(), nullptr, error.out());
        detail::report(callback_, code, error);
        raw_.reset();
    }

    Handle<Raw, Calls::free> raw_{};
    SharedCallback callback_;
};

} // namespace detail

/// Writes messages to a stream, each exactly once, in the order of the calls.
class IdempotentProducer : public detail::Producer<detail::Messages> {
public:
    IdempotentProducer(const DurableStream &stream, std::string_view producer_id,
                       const Options &options = Options())
        : Producer(options.callback()) {
        detail::Text id(producer_id, "producer_id");
        detail::Slot error;
        durstream_producer *raw = nullptr;
        error.check(
            durstream_producer_open(stream.get(), id.get(), options.get(), &raw, error.out()));
        opened(raw);
    }

    /// Accepts one message, waiting up to `max_block_ms` for room in a full buffer. The tag comes
    /// back in the callbacks.
    Receipt append(std::string_view message, std::uint64_t tag = 0) {
        return write(durstream_producer_append, message, tag);
    }
    /// Accepts one message without waiting: throws BufferFullError if the buffer is full.
    Receipt try_append(std::string_view message, std::uint64_t tag = 0) {
        return write(durstream_producer_try_append, message, tag);
    }
    /// Accepts messages as one group: they travel in one request, and all of them are stored or none is.
    /// The receipt is that of the last one, and its outcome that of all; its id is 0 where there are none.
    /// Waits up to `max_block_ms` for room in a full buffer.
    Receipt append_group(const std::vector<std::string_view> &messages, std::uint64_t tag = 0) {
        return write(durstream_producer_append_group, messages, tag);
    }
    /// Accepts messages as one group without waiting: throws BufferFullError if the buffer is full.
    Receipt try_append_group(const std::vector<std::string_view> &messages, std::uint64_t tag = 0) {
        return write(durstream_producer_try_append_group, messages, tag);
    }
    /// Flushes, then ends the stream for everybody, a last message in the same request.
    std::optional<std::string> close(std::optional<std::string_view> message = std::nullopt,
                                     Limit limit = no_limit) {
        detail::Slot error;
        char *offset = nullptr;
        error.check(durstream_producer_close(get(), detail::bytes(message),
                                             message ? message->size() : 0, limit.count(), &offset,
                                             error.out()));
        return detail::taken(offset);
    }
    /// Flushes and stops the producer without ending the stream.
    FlushReport detach(Limit limit = no_limit) {
        return reported(durstream_producer_detach, limit);
    }

private:
    using Write = decltype(&durstream_producer_append);

    using WriteGroup = decltype(&durstream_producer_append_group);

    Receipt write(Write call, std::string_view message, std::uint64_t tag) {
        detail::Slot error;
        std::uint64_t id = 0;
        error.check(call(get(), detail::bytes(message), message.size(), tag, &id, error.out()));
        return Receipt(id);
    }
    Receipt write(WriteGroup call, const std::vector<std::string_view> &messages,
                  std::uint64_t tag) {
        std::vector<const std::uint8_t *> starts;
        std::vector<std::size_t> lengths;
        for (const std::string_view message : messages) {
            starts.push_back(detail::bytes(message));
            lengths.push_back(message.size());
        }
        detail::Slot error;
        std::uint64_t id = 0;
        error.check(call(get(), starts.data(), lengths.data(), messages.size(), tag, &id,
                         error.out()));
        return Receipt(id);
    }
};

// --- Entity state ----------------------------------------------------------------------------

/// A collection whose entities are of type `T`: a write to it takes no other. Made by
/// `StreamSchema::collection`, and of that schema's producers: any other refuses it (`invalid-entity`). Cheap
/// to copy, and safe to use from any thread if its `to_json` is.
template <class T>
class Collection {
public:
    std::string_view name() const noexcept { return data_->name; }
    /// An entity as JSON text.
    std::string json(const T &entity) const { return data_->to_json(entity); }

private:
    friend class StreamSchema;
    friend class StateProducer;
    friend class Transaction;
    struct Data {
        std::string name;
        std::function<std::string(const T &)> to_json;
        std::shared_ptr<const char> schema;
    };
    Collection(std::string_view name, std::function<std::string(const T &)> to_json,
               std::shared_ptr<const char> schema)
        : data_(std::make_shared<const Data>(
              Data{std::string(name), std::move(to_json), std::move(schema)})) {}

    /// Its name among the collections of a schema. That of another one is none that the library knows.
    std::string name_in(const std::shared_ptr<const char> &schema) const {
        return data_->schema == schema ? data_->name : data_->name + " of another schema";
    }

    std::shared_ptr<const Data> data_;
};

namespace detail {

template <class T>
struct Same { using type = T; };
/// A type that is not deduced here: the collection says it.
template <class T>
using EntityOf = typename Same<T>::type;

/// Takes entities that are JSON text.
struct AsItIs {
    std::string operator()(std::string_view text) const { return std::string(text); }
};

} // namespace detail

/// The collections of a stream of entity state.
class StreamSchema {
public:
    StreamSchema() : raw_(durstream_schema_new()) {}

    /// Adds a collection; without a JSON Schema it takes any object that has its key.
    StreamSchema &add(std::string_view name, std::string_view type, std::string_view primary_key,
                      std::optional<std::string_view> json_schema = std::nullopt) {
        detail::Text n(name, "name"), t(type, "entity_type"), k(primary_key, "primary_key");
        detail::Text s(json_schema.value_or(""), "json_schema");
        detail::Slot error;
        error.check(durstream_schema_add(raw_.get(), n.get(), t.get(), k.get(),
                                         json_schema ? s.get() : nullptr, error.out()));
        return *this;
    }
    /// Adds a collection whose entities are of type `T`, and gives what names it in writes, which then take
    /// no other. `to_json` makes the JSON text of an entity, with whatever library: `std::string(const T &)`.
    /// A `T` that is the text, or becomes a `std::string_view` of it, needs none.
    template <class T, class ToJson = detail::AsItIs>
    Collection<T> collection(std::string_view name, std::string_view type,
                             std::string_view primary_key, ToJson to_json = {},
                             std::optional<std::string_view> json_schema = std::nullopt) {
        static_assert(std::is_invocable_r_v<std::string, const ToJson &, const T &>,
                      "`to_json` makes the JSON text of an entity: std::string(const T &)");
        add(name, type, primary_key, json_schema);
        return Collection<T>(name, std::move(to_json), identity_);
    }
    const durstream_schema *get() const noexcept { return raw_.get(); }

private:
    friend class StateProducer;
    detail::Handle<durstream_schema, durstream_schema_free> raw_;
    std::shared_ptr<const char> identity_ = std::make_shared<const char>('\0');
};

namespace detail {

/// A refusal becomes a receipt; any other failure is not about the write, and thrown.
inline Receipt receipt(Code code, std::uint64_t id, const Slot &error, bool strict) {
    if (code == DURSTREAM_OK) return Receipt(id);
    if (strict || !durstream_error_reason(error.get())) raise(code, error.get());
    return Receipt(leaf(code, error.get()));
}

} // namespace detail

class Transaction;

/// Publishes the state of entities to one stream, each change exactly once, in call order. There is
/// one per stream in a process: a second open is another holder of the first.
class StateProducer : public detail::Producer<detail::Entities> {
public:
    StateProducer(const Options &options, const StreamSchema &schema)
        : Producer(options.callback()), schema_(schema.identity_), strict_(options.strict()) {
        detail::Slot error;
        durstream_state *raw = nullptr;
        error.check(durstream_state_open(options.get(), schema.get(), &raw, error.out()));
        opened(raw);
    }

    /// Publishes an entity's whole new state, a JSON object, waiting up to `max_block_ms` for room
    /// in a full buffer. The tag comes back in this holder's callbacks.
    Receipt upsert(std::string_view collection, std::string_view value, std::uint64_t tag = 0) {
        return upsert(durstream_state_upsert, collection, value, tag);
    }
    /// Publishes an entity's whole new state without waiting: a full buffer refuses it.
    Receipt try_upsert(std::string_view collection, std::string_view value, std::uint64_t tag = 0) {
        return upsert(durstream_state_try_upsert, collection, value, tag);
    }
    /// Publishes that an entity is gone (`delete` is a keyword).
    Receipt remove(std::string_view collection, std::string_view key, std::uint64_t tag = 0) {
        return remove(durstream_state_delete, collection, key, tag);
    }
    /// Publishes that an entity is gone without waiting: a full buffer refuses it.
    Receipt try_remove(std::string_view collection, std::string_view key, std::uint64_t tag = 0) {
        return remove(durstream_state_try_delete, collection, key, tag);
    }
    /// Publishes a change with what `event` says beside it: `DURSTREAM_OPERATION_UPSERT`, `_INSERT`,
    /// `_UPDATE` or `_DELETE`, which takes an entity with its key. Waits up to `max_block_ms` for room.
    Receipt change(Operation operation, std::string_view collection, std::string_view value,
                   const Event &event = {}) {
        return change(durstream_state_change, operation, collection, value, event);
    }
    /// Publishes a change without waiting: a full buffer refuses it.
    Receipt try_change(Operation operation, std::string_view collection, std::string_view value,
                       const Event &event = {}) {
        return change(durstream_state_try_change, operation, collection, value, event);
    }
    Receipt upsert(std::string_view collection, std::string_view value, const Event &event) {
        return change(DURSTREAM_OPERATION_UPSERT, collection, value, event);
    }
    /// Publishes an entity that is new: that is the caller's word.
    Receipt insert(std::string_view collection, std::string_view value, const Event &event = {}) {
        return change(DURSTREAM_OPERATION_INSERT, collection, value, event);
    }
    /// Publishes the whole new state of an entity that is there: that is the caller's word.
    Receipt update(std::string_view collection, std::string_view value, const Event &event = {}) {
        return change(DURSTREAM_OPERATION_UPDATE, collection, value, event);
    }
    /// Publishes that an entity is gone, by its key.
    Receipt remove(std::string_view collection, std::string_view key, Event event) {
        event.key = key;
        return change(durstream_state_change, DURSTREAM_OPERATION_DELETE, collection, std::nullopt,
                      event);
    }
    /// Publishes entities' whole new states in order, each as `upsert` does. Where refusals are
    /// thrown, the entities behind a refused one are not written.
    template <class Values>
    std::vector<Receipt> upsert_many(std::string_view collection, const Values &values) {
        std::vector<Receipt> receipts;
        for (const auto &value : values) receipts.push_back(upsert(collection, value));
        return receipts;
    }
    // What follows takes entities that have a type, in the same way.
    template <class T>
    Receipt upsert(const Collection<T> &collection, const detail::EntityOf<T> &entity,
                   std::uint64_t tag = 0) {
        return upsert(collection.name_in(schema_), collection.json(entity), tag);
    }
    template <class T>
    Receipt upsert(const Collection<T> &collection, const detail::EntityOf<T> &entity,
                   const Event &event) {
        return change(DURSTREAM_OPERATION_UPSERT, collection, entity, event);
    }
    template <class T>
    Receipt try_upsert(const Collection<T> &collection, const detail::EntityOf<T> &entity,
                       std::uint64_t tag = 0) {
        return try_upsert(collection.name_in(schema_), collection.json(entity), tag);
    }
    template <class T>
    Receipt insert(const Collection<T> &collection, const detail::EntityOf<T> &entity,
                   const Event &event = {}) {
        return change(DURSTREAM_OPERATION_INSERT, collection, entity, event);
    }
    template <class T>
    Receipt update(const Collection<T> &collection, const detail::EntityOf<T> &entity,
                   const Event &event = {}) {
        return change(DURSTREAM_OPERATION_UPDATE, collection, entity, event);
    }
    template <class T>
    Receipt change(Operation operation, const Collection<T> &collection,
                   const detail::EntityOf<T> &entity, const Event &event = {}) {
        return change(operation, collection.name_in(schema_), collection.json(entity), event);
    }
    template <class T>
    Receipt try_change(Operation operation, const Collection<T> &collection,
                       const detail::EntityOf<T> &entity, const Event &event = {}) {
        return try_change(operation, collection.name_in(schema_), collection.json(entity), event);
    }
    template <class T, class Entities>
    std::vector<Receipt> upsert_many(const Collection<T> &collection, const Entities &entities) {
        std::vector<Receipt> receipts;
        for (const auto &entity : entities) receipts.push_back(upsert(collection, entity));
        return receipts;
    }
    template <class T>
    Receipt remove(const Collection<T> &collection, std::string_view key, std::uint64_t tag = 0) {
        return remove(collection.name_in(schema_), key, tag);
    }
    template <class T>
    Receipt try_remove(const Collection<T> &collection, std::string_view key,
                       std::uint64_t tag = 0) {
        return try_remove(collection.name_in(schema_), key, tag);
    }
    template <class T>
    Receipt remove(const Collection<T> &collection, std::string_view key, Event event) {
        return remove(collection.name_in(schema_), key, std::move(event));
    }
    /// Publishes a message about the stream, in order with the changes:
    /// `DURSTREAM_CONTROL_SNAPSHOT_START`, `_SNAPSHOT_END` or `_RESET`; `offset` is the place that it
    /// speaks of. Waits up to `max_block_ms` for room.
    Receipt control(Control message, std::optional<std::string_view> offset = std::nullopt,
                    std::uint64_t tag = 0) {
        return control(durstream_state_control, message, offset, tag);
    }
    /// Publishes a message about the stream without waiting: a full buffer refuses it.
    Receipt try_control(Control message, std::optional<std::string_view> offset = std::nullopt,
                        std::uint64_t tag = 0) {
        return control(durstream_state_try_control, message, offset, tag);
    }
    /// Begins a transaction: its changes reach the stream together, or not at all. `txid` is its id, a new
    /// UUID unless given; a reader that made the changes before waits for it.
    Transaction transaction(std::optional<std::string_view> txid = std::nullopt);
    /// Flushes and closes the producer for all holders. The stream goes on.
    void close(Limit limit = no_limit) {
        detail::Slot error;
        error.check(durstream_state_close(get(), false, limit.count(), nullptr, error.out()));
    }
    /// Flushes, ends the stream for everybody, and closes the producer.
    std::optional<std::string> close_stream(Limit limit = no_limit) {
        detail::Slot error;
        char *offset = nullptr;
        error.check(durstream_state_close(get(), true, limit.count(), &offset, error.out()));
        return detail::taken(offset);
    }
private:
    using Upsert = decltype(&durstream_state_upsert);
    using Delete = decltype(&durstream_state_delete);
    using Change = decltype(&durstream_state_change);
    using Tell = decltype(&durstream_state_control);

    Receipt change(Change write, Operation operation, std::string_view collection,
                   const std::optional<std::string_view> &value, const Event &event) {
        detail::Text name(collection, "collection");
        const detail::RawEvent raw(event);
        detail::Slot error;
        std::uint64_t id = 0;
        const Code code = write(get(), operation, name.get(), detail::bytes(value),
                                value ? value->size() : 0, raw.get(), &id, error.out());
        return receipt(code, id, error);
    }
    Receipt control(Tell write, Control message, const std::optional<std::string_view> &offset,
                    std::uint64_t tag) {
        const detail::OptionalText place(offset, "offset");
        detail::Slot error;
        std::uint64_t id = 0;
        const Code code = write(get(), message, place.get(), tag, &id, error.out());
        return receipt(code, id, error);
    }
    Receipt upsert(Upsert write, std::string_view collection, std::string_view value,
                   std::uint64_t tag) {
        detail::Text name(collection, "collection");
        detail::Slot error;
        std::uint64_t id = 0;
        const Code code =
            write(get(), name.get(), detail::bytes(value), value.size(), tag, &id, error.out());
        return receipt(code, id, error);
    }
    Receipt remove(Delete write, std::string_view collection, std::string_view key,
                   std::uint64_t tag) {
        detail::Text name(collection, "collection"), text(key, "key");
        detail::Slot error;
        std::uint64_t id = 0;
        const Code code = write(get(), name.get(), text.get(), tag, &id, error.out());
        return receipt(code, id, error);
    }
    Receipt receipt(Code code, std::uint64_t id, const detail::Slot &error) const {
        return detail::receipt(code, id, error, strict_);
    }

    friend class Transaction;
    std::shared_ptr<const char> schema_;
    bool strict_ = false;
};

/// Changes that reach the stream together, or not at all: they become one group, with one `txid`. Of the
/// thread that began it. Destroyed without a commit, it is rolled back: nothing is sent.
class Transaction {
public:
    /// Begins one, with a new UUID as its id unless given.
    explicit Transaction(StateProducer &state, std::optional<std::string_view> txid = std::nullopt)
        : schema_(state.schema_), strict_(state.strict_) {
        const detail::OptionalText own(txid, "txid");
        detail::Slot error;
        durstream_transaction *raw = nullptr;
        error.check(durstream_state_begin(state.get(), own.get(), &raw, error.out()));
        raw_.reset(raw);
    }

    /// The id, which each change has as its `txid`.
    std::string_view txid() const noexcept {
        const char *own = durstream_transaction_txid(raw_.get());
        return own ? own : std::string_view();
    }
    /// Adds a change. A refused one makes the commit fail.
    void change(Operation operation, std::string_view collection, std::string_view value,
                const Event &event = {}) {
        add(operation, collection, value, event);
    }
    void upsert(std::string_view collection, std::string_view value, const Event &event = {}) {
        change(DURSTREAM_OPERATION_UPSERT, collection, value, event);
    }
    void insert(std::string_view collection, std::string_view value, const Event &event = {}) {
        change(DURSTREAM_OPERATION_INSERT, collection, value, event);
    }
    void update(std::string_view collection, std::string_view value, const Event &event = {}) {
        change(DURSTREAM_OPERATION_UPDATE, collection, value, event);
    }
    /// Adds that an entity is gone, by its key.
    void remove(std::string_view collection, std::string_view key, Event event = {}) {
        event.key = key;
        add(DURSTREAM_OPERATION_DELETE, collection, std::nullopt, event);
    }
    // What follows takes entities that have a type, in the same way.
    template <class T>
    void change(Operation operation, const Collection<T> &collection,
                const detail::EntityOf<T> &entity, const Event &event = {}) {
        change(operation, collection.name_in(schema_), collection.json(entity), event);
    }
    template <class T>
    void upsert(const Collection<T> &collection, const detail::EntityOf<T> &entity,
                const Event &event = {}) {
        change(DURSTREAM_OPERATION_UPSERT, collection, entity, event);
    }
    template <class T>
    void insert(const Collection<T> &collection, const detail::EntityOf<T> &entity,
                const Event &event = {}) {
        change(DURSTREAM_OPERATION_INSERT, collection, entity, event);
    }
    template <class T>
    void update(const Collection<T> &collection, const detail::EntityOf<T> &entity,
                const Event &event = {}) {
        change(DURSTREAM_OPERATION_UPDATE, collection, entity, event);
    }
    template <class T>
    void remove(const Collection<T> &collection, std::string_view key, Event event = {}) {
        remove(collection.name_in(schema_), key, std::move(event));
    }
    /// Sends the changes as one group, waiting up to `max_block_ms` for room. The receipt is that of the
    /// last one, and its outcome that of all; its id is 0 where there were none. A refused receipt says
    /// of all changes that were refused; after one for a full buffer it may be committed again.
    Receipt commit() { return commit(durstream_transaction_commit); }
    /// Sends the changes as one group without waiting: a full buffer refuses it.
    Receipt try_commit() { return commit(durstream_transaction_try_commit); }
    /// Forgets the changes: nothing is sent.
    void rollback() noexcept { raw_.reset(); }

private:
    using Commit = decltype(&durstream_transaction_commit);

    void add(Operation operation, std::string_view collection,
             const std::optional<std::string_view> &value, const Event &event) {
        detail::Text name(collection, "collection");
        const detail::RawEvent raw(event);
        detail::Slot error;
        error.check(durstream_transaction_change(raw_.get(), operation, name.get(),
                                                 detail::bytes(value), value ? value->size() : 0,
                                                 raw.get(), error.out()));
    }
    Receipt commit(Commit send) {
        detail::Slot error;
        std::uint64_t id = 0;
        const Code code = send(raw_.get(), &id, error.out());
        return detail::receipt(code, id, error, strict_);
    }

    detail::Handle<durstream_transaction, durstream_transaction_free> raw_{};
    std::shared_ptr<const char> schema_;
    bool strict_ = false;
};

inline Transaction StateProducer::transaction(std::optional<std::string_view> txid) {
    return Transaction(*this, txid);
}

/// Opens the writer of entity state for a stream, or becomes a holder of the open one.
inline StateProducer create_durable_stream(const Options &options, const StreamSchema &schema) {
    return StateProducer(options, schema);
}

/// Tells what create_durable_stream() would open with these options, as a JSON object without secrets,
/// and opens nothing; durstream_state_inspect() says what is in it.
inline std::string inspect(const Options &options, const StreamSchema &schema) {
    detail::Slot error;
    char *raw = nullptr;
    error.check(durstream_state_inspect(options.get(), schema.get(), &raw, error.out()));
    return detail::taken(raw).value_or("");
}

// --- The process -----------------------------------------------------------------------------

inline std::string_view version() { return durstream_version(); }

/// Writes of this process accepted and not settled, over all producers.
inline std::uint64_t pending_count() { return durstream_pending_count(); }
/// The text for Prometheus about all producers of this process, or as OpenMetrics.
inline std::string stats_prometheus(bool openmetrics = false) {
    return detail::taken(durstream_stats_prometheus(openmetrics ? 1 : 0)).value_or("");
}

/// Bounds the bytes that all producers together may buffer beyond one batch of each.
inline void set_buffer_budget(std::uint64_t bytes) { durstream_set_buffer_budget(bytes); }

/// Waits until every write accepted so far, by any producer, is settled, well or not.
inline void flush_all(Limit limit = no_limit) {
    detail::Slot error;
    error.check(durstream_flush_all(limit.count(), error.out()));
}

/// How long the normal end of the process waits for accepted writes to settle: 3 seconds unless
/// set; with 0 it does not wait.
inline void set_exit_timeout(Limit limit) noexcept { durstream_set_exit_timeout(limit.count()); }

using LogLevel = durstream_log_level;

/// A line of the log. The views end with the callback.
struct LogLine {
    LogLevel level;
    /// The part of the library: `producer`, `connection` or `process`.
    std::string_view target;
    /// For a person; it stands alone.
    std::string_view text;
    /// The URL of the stream it is about, without user info and query; empty for none.
    std::string_view stream;
    /// The id of the producer it is about; empty for none.
    std::string_view producer_id;
    /// The epoch of that producer's session; 0 for none.
    std::uint64_t epoch;
    /// Failed attempts in a row.
    std::uint32_t attempt;
};

/// Sets how much of the log there is: lines of this level and of those that matter more.
inline void set_log_level(LogLevel level) {
    detail::Slot error;
    error.check(durstream_set_log_level(level, error.out()));
}

/// Sends the log to a function in place of standard error; an empty one silences it. It runs on a
/// thread of the library's own, one line at a time, and lives as long as the process. What it throws
/// ends there, and standard error gets the line.
inline void set_log(std::function<void(const LogLine &)> log) {
    struct Kept {
        std::function<void(const LogLine &)> log;
        Kept *before;
    };
    // Another thread may be within the one before: none is ever destroyed.
    static std::atomic<Kept *> kept{nullptr};
    if (!log) return durstream_set_log_lines(nullptr, nullptr);
    const auto call = [](const durstream_log_line *line, void *user_data) noexcept {
        const auto view = [](const char *text) {
            return text ? std::string_view(text) : std::string_view();
        };
        const std::string_view text = view(durstream_log_line_text(line));
        try {
            static_cast<Kept *>(user_data)->log(LogLine{
                durstream_log_line_level(line), view(durstream_log_line_target(line)), text,
                view(durstream_log_line_stream(line)), view(durstream_log_line_producer_id(line)),
                durstream_log_line_epoch(line), durstream_log_line_attempt(line)});
        } catch (...) {
            std::fprintf(stderr, "durstream: %.*s\n", static_cast<int>(text.size()), text.data());
        }
    };
    Kept *const own = new Kept{std::move(log), nullptr};
    own->before = kept.exchange(own);
    durstream_set_log_lines(call, own);
}

/// Stops everything within the limit, 3 seconds unless given. A later open starts afresh.
inline void shutdown(Limit limit = shutdown_limit) {
    detail::Slot error;
    error.check(durstream_shutdown(limit.count(), error.out()));
}

} // namespace durstream

#if defined(__clang__) && defined(__has_warning)
#pragma clang diagnostic pop
#endif

#endif // C++17 with exceptions

#endif // DURSTREAM_HPP
