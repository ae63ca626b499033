/**
 * Thrown by a handler that has stopped at a token boundary for one other worker, `target`, to go on. `offer` hands that one the
 * job's lock; where it does not take it, the job goes back to the front of the queue.
 */
export class HandedOver extends DOMException {
  readonly target: string;
  readonly offer: (lockToken: string) => Promise<boolean>;

  constructor(target: string, offer: (lockToken: string) => Promise<boolean>) {
    super('handed over to another worker', 'AbortError');
    this.target = target;
    this.offer = offer;
  }
}
