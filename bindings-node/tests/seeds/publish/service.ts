// "Publish a durable stream": Create the producer, Upsert and delete state, Flush on shutdown.
import { addEventListener } from './prelude.ts';

import { createDurableStream } from 'durstream';
import { shipmentStreamSchema } from './shipment-stream-schema.ts';

const shutdown = new AbortController();

const producer = createDurableStream({
  streamPath: '/shipments',
  schema: shipmentStreamSchema,
  producerId: 'shipping-service',
  signal: shutdown.signal,
});

producer.upsert('shipments', {
  id: 'ship_123',
  orderId: 'ord_123',
  status: 'in_transit',
  updatedAt: new Date().toISOString(),
});

producer.delete('shipments', 'ship_123');

addEventListener('unload', async () => {
  shutdown.abort();
  await producer.flush();
  await producer.close();
});

export { producer };
