/** What a plan of moves rests on. */
import type { PlacementQuestion, PlacementResult } from '../decide/verdict.js'
import type { CloudMap } from '../map.js'
import type { InstanceRecord, Resources } from '../records.js'
import type { Settings } from '../settings.js'
import type { Host } from './host.js'
import type { Outlook } from './outlook.js'

export interface RebalanceInput {
  readonly map: CloudMap
  readonly settings: Settings
  readonly place: (map: CloudMap, question: PlacementQuestion) => PlacementResult
  /** All motherships as placement sees them, on this map or draft; lowest id first. */
  readonly hosts: (map: CloudMap) => readonly Host[]
  /** What an instance is measured to use where it runs; undefined where nobody knows. */
  readonly usageOf: (instance: InstanceRecord, mothership: string) => Resources | undefined
  /** What everything there uses as a rule, peaks of the last hours included; undefined where nobody knows. */
  readonly usualOf?: (mothership: string) => Resources | undefined
  /** What the coming hours may be like; undefined while too little is known. */
  readonly outlook?: Outlook | undefined
  readonly movesMax: number
  /** RFC 3339, to know how long ago earlier moves were. */
  readonly at: string
}
