const products = [
  { sku: 'umbrella', title: 'Umbrella', cents: 1990 },
  { sku: 'boots', title: 'Rubber boots', cents: 3450 },
  { sku: 'coat', title: 'Raincoat', cents: 8900 },
]

exports.index = (environment, callback, context) => {
  callback(null, {
    customer: context.customer,
    products,
    instance: environment.instance,
    mothership: environment.mothership,
  })
}
