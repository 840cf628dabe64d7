/** Milliseconds in which a change is made, or a document read, or nobody knows: of who asks, and of who answers. */
export const askWithinMs = 5_000
