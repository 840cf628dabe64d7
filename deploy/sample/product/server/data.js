exports.index = (environment, callback, context) => {
  callback(null, {
    sku: context.sku,
    title: context.title,
    customer: context.customer,
    price: `${(Number(context.cents) / 100).toFixed(2)} EUR`,
    instance: environment.instance,
    mothership: environment.mothership,
  })
}
