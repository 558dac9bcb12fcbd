/** Where the page's own server hands requests on to the server of the streams. */
export const SERVER_PATH = "/v1/stream";

/** What the demo tells of its services. */
export const STATUS_PATH = "/status.json";
