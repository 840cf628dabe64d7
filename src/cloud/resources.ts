/** What is asked, given and measured: cpu in millicores, ram in MiB, bandwidth in kbit/s. */
import Type, { type Static } from 'typebox'

export const Resources = Type.Object({
  cpu: Type.Number({ minimum: 0 }),
  ram: Type.Number({ minimum: 0 }),
  bandwidth: Type.Number({ minimum: 0 }),
})
export type Resources = Static<typeof Resources>
