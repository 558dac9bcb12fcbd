// durstream_test.hpp: the C++17 face of durstream_test.h, for the tests of services.
//
//   durstream::testing::Recorder recorder;
//   durstream::Options options;
//   options.set("endpoints", recorder.url()).set("stream_path", "/shipments");
//   ... the code under test opens its producers with these options, writes and flushes ...
//   assert(recorder.events("/shipments").item_count() == 2);
#ifndef DURSTREAM_TEST_HPP
#define DURSTREAM_TEST_HPP

#include "durstream.hpp"
#include "durstream_test.h"

#ifdef DURSTREAM_CPP

namespace durstream {
namespace testing {

/// A server of streams within the process, without a socket. Whatever is opened below its URL is the
/// real thing, and does what it does with any server. Recorders know nothing of each other. Once a
/// recorder is destroyed nothing is opened at its URL any more; what is open goes on, with everything
/// delivered. In a child of fork its calls throw ForkedError.
class Recorder {
public:
    Recorder() : raw_(durstream_test_recorder_new()) {}

    /// Its base URL, for the option `endpoints` or the environment variable DURABLE_STREAMS_URL.
    std::string_view url() const noexcept {
        const char *url = durstream_test_recorder_url(raw_.get());
        return url ? std::string_view(url) : std::string_view();
    }
    /// Everything that a stream received since clear(): on a JSON stream the messages, on others the
    /// bytes. Where there is no stream it has no messages. Flush before.
    Chunk events(std::string_view path) const {
        const detail::Text text(path, "path");
        detail::Slot error;
        durstream_chunk *raw = nullptr;
        error.check(durstream_test_recorder_events(raw_.get(), text.get(), &raw, error.out()));
        return Chunk(raw);
    }
    /// Forgets what was received so far, for events() alone.
    void clear() { tell(durstream_test_recorder_clear); }
    /// From now on appends wait for their answers, as with a server that hangs.
    void hold() { tell(durstream_test_recorder_hold); }
    /// Answers the appends that are held, in their order, and holds no more; throws
    /// InvalidArgumentError where it does not hold.
    void release() { tell(durstream_test_recorder_release); }
    /// From now on appends that contain a text are refused, and their writes are rejected for this
    /// reason: DURSTREAM_REASON_REFUSED, _TOO_LARGE or _UNAUTHORIZED. The empty text is in every append.
    void reject(std::string_view containing, Reason reason = DURSTREAM_REASON_REFUSED) {
        const detail::Text text(containing, "containing");
        detail::Slot error;
        error.check(
            durstream_test_recorder_reject(raw_.get(), text.get(), reason, error.out()));
    }
    /// From now on another producer holds every id: producers are fenced at their next append.
    void fence() { tell(durstream_test_recorder_fence); }
    /// The next requests of any kind, or all of them with 0, find nobody, as when no server listens. They
    /// are repeated.
    void fail(std::uint64_t times = 0) {
        detail::Slot error;
        error.check(durstream_test_recorder_fail(raw_.get(), times, error.out()));
    }
    /// From now on everything is delivered again, as in the beginning; what is held is answered.
    void deliver() { tell(durstream_test_recorder_deliver); }
    const durstream_test_recorder *get() const noexcept { return raw_.get(); }

private:
    using Tell = decltype(&durstream_test_recorder_clear);

    void tell(Tell what) {
        detail::Slot error;
        error.check(what(raw_.get(), error.out()));
    }

    detail::Handle<durstream_test_recorder, durstream_test_recorder_free> raw_;
};

} // namespace testing
} // namespace durstream

#endif // DURSTREAM_CPP

#endif // DURSTREAM_TEST_HPP
