// Mistakes with collections, each of which the compiler finds: MISTAKE says which one is made, 0 none.
#include <durstream.hpp>

struct Shipment {
    Shipment(std::string own_id, std::string own_status)
        : id(std::move(own_id)), status(std::move(own_status)) {}
    std::string id, status;
};
struct Order {
    int id;
};

std::string json_of(const Shipment &shipment);
std::string json_of_order(const Order &order);

void write(durstream::StreamSchema &schema, durstream::StateProducer &producer,
           durstream::Transaction &changes, const Order &order);

void write(durstream::StreamSchema &schema, durstream::StateProducer &producer,
           durstream::Transaction &changes, const Order &order) {
    const auto shipments = schema.collection<Shipment>("shipments", "shipment", "id", json_of);
    producer.upsert(shipments, Shipment("a", "created"));
    changes.upsert(shipments, {"a", "created"});
    producer.remove(shipments, "a");
    static_cast<void>(order);
#if MISTAKE == 1 // an unknown collection
    producer.upsert(shipmnts, Shipment("a", "created"));
#elif MISTAKE == 2 // an unknown collection to delete from
    producer.remove(shipmnts, "a");
#elif MISTAKE == 3 // a value that is no entity
    producer.upsert(shipments, "a");
#elif MISTAKE == 4 // a missing key
    producer.upsert(shipments, {"created"});
#elif MISTAKE == 5 // an entity of another collection
    producer.upsert(shipments, order);
#elif MISTAKE == 6 // among several
    producer.upsert_many(shipments, std::vector<Order>{order});
#elif MISTAKE == 7 // with an event
    producer.update(shipments, order, durstream::Event());
#elif MISTAKE == 8 // to delete
    producer.change(DURSTREAM_OPERATION_DELETE, shipments, order);
#elif MISTAKE == 9 // in a transaction
    changes.insert(shipments, order);
#elif MISTAKE == 10 // a key that is no text
    changes.remove(shipments, order);
#elif MISTAKE == 11 // the serialiser of another type
    schema.collection<Shipment>("orders", "order", "id", json_of_order);
#endif
}
