/**
 * Names of the things in a cloud, as branded strings, so that a mothership never passes for an instance.
 * Every id is checked by its strict pattern before it becomes part of an etcd key or an url.
 */
declare const brand: unique symbol
type Branded<Name extends string> = string & { readonly [brand]: Name }

export type ReplicaId = Branded<'replica'>
export type MothershipId = Branded<'mothership'>
export type RainServerId = Branded<'rainserver'>
export type BalancerId = Branded<'balancer'>
export type ComponentId = Branded<'component'>
export type InstanceId = Branded<'instance'>

export type NodeKind = 'mothership' | 'rainserver' | 'balancer'
export const nodeKinds: readonly NodeKind[] = ['mothership', 'rainserver', 'balancer']

/** A node as sessions, credentials and tickets name it. Ids are unique within a kind, not across kinds. */
export interface NodeRef {
  readonly kind: NodeKind
  readonly id: string
}

export const nodeIdPattern = '^[A-Za-z0-9][\\w.-]{0,127}$'
/** Of a node that is new: `/mothership/all` lists them. */
export const newNodeIdPattern = '^(?!all$)[A-Za-z0-9][\\w.-]{0,127}$'
export const componentIdPattern = '^[\\w-]{1,128}$'
/** Holds a dot, so that neither `all` nor a component id can be taken for one. */
export const instanceIdPattern = '^[\\w-]{1,128}\\.[\\w.-]{1,64}$'
export const digestPattern = '^sha256:[0-9a-f]{64}$'

const newNodeId = new RegExp(newNodeIdPattern)
const componentId = new RegExp(componentIdPattern)
const instanceId = new RegExp(instanceIdPattern)

export const isNewNodeId = (text: string): boolean => newNodeId.test(text)
export const isComponentId = (text: string): text is ComponentId => componentId.test(text) && text !== 'all'
export const isInstanceId = (text: string): text is InstanceId => instanceId.test(text)

/** `mothership/m1`: the key of a session, and a node's name in messages for people. */
export const nodeName = (node: NodeRef): string => `${node.kind}/${node.id}`

/** The order of ids wherever a tie must fall to the lowest one: by code unit, the same on every machine. */
export const byId = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
