import { AggregationTemporality, InstrumentType } from '@opentelemetry/sdk-metrics';

/**
 * Has a gauge tell what it was observed to be since it was last read, and nothing where it was not observed: the SDK would
 * repeat what it was once, for as long as nobody knows what it is. Null for other instruments.
 */
export function forgetfulGauges(instrument: InstrumentType): AggregationTemporality | null {
  return instrument === InstrumentType.OBSERVABLE_GAUGE ? AggregationTemporality.DELTA : null;
}
