"""PMML files in the manner of several producers: SPSS, KNIME, JPMML, and our own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from extend.formats.dense import DenseLayer, DenseNetwork
from extend.formats.pmml._writer import document
from extend.formats.pmml.model import open

__all__ = ["open", "write"]

# ruff: noqa: E501  # lines as the programs write them
SPSS = """<?xml version="1.0" encoding="UTF-8"?>
<PMML version="3.2" xmlns="http://www.dmg.org/PMML-3_2" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
      xsi:schemaLocation="http://www.dmg.org/PMML-3_2 pmml-3-2.xsd">
  <!-- Three points, outliers cut off, a categorical input as two indicators, tanh and softmax. -->
  <Header copyright="someone"><Application name="SPSS" version="17"/></Header>
  <DataDictionary numberOfFields="4">
    <DataField name="age" optype="continuous" dataType="double"/>
    <DataField name="income" optype="continuous" dataType="double"/>
    <DataField name="sex" optype="categorical" dataType="string"><Value value="f"/><Value value="m"/></DataField>
    <DataField name="risk" optype="categorical" dataType="string">
      <Value value="low" displayValue="Low risk"/><Value value="mid"/><Value value="high"/>
    </DataField>
  </DataDictionary>
  <NeuralNetwork modelName="risk" functionName="classification" algorithmName="MLP" activationFunction="tanh"
                 numberOfLayers="2">
    <Extension name="kept" value="as it is"/>
    <MiningSchema>
      <MiningField name="age" outliers="asExtremeValues" lowValue="0" highValue="90" missingValueReplacement="40"/>
      <MiningField name="income"/>
      <MiningField name="sex"/>
      <MiningField name="risk" usageType="predicted"/>
    </MiningSchema>
    <NeuralInputs numberOfInputs="4">
      <NeuralInput id="0,0"><DerivedField optype="continuous" dataType="double">
        <NormContinuous field="age"><LinearNorm orig="0" norm="-1"/><LinearNorm orig="90" norm="1"/></NormContinuous>
      </DerivedField></NeuralInput>
      <NeuralInput id="0,1"><DerivedField optype="continuous" dataType="double">
        <NormContinuous field="income" outliers="asExtremeValues">
          <LinearNorm orig="0" norm="0"/><LinearNorm orig="10" norm="0.5"/><LinearNorm orig="100" norm="1"/>
        </NormContinuous>
      </DerivedField></NeuralInput>
      <NeuralInput id="0,2"><DerivedField optype="continuous" dataType="double">
        <NormDiscrete field="sex" value="f"/>
      </DerivedField></NeuralInput>
      <NeuralInput id="0,3"><DerivedField optype="continuous" dataType="double">
        <NormDiscrete field="sex" value="m"/>
      </DerivedField></NeuralInput>
    </NeuralInputs>
    <NeuralLayer numberOfNeurons="2">
      <Neuron id="1,0" bias="0.3"><Con from="0,0" weight="1.5"/><Con from="0,1" weight="-2"/><Con from="0,2" weight="0.5"/></Neuron>
      <Neuron id="1,1" bias="-.1"><Con from="0,3" weight="0.7"/><Con from="0,1" weight="2.25e0"/><Con from="0,0" weight="-1"/></Neuron>
    </NeuralLayer>
    <NeuralLayer numberOfNeurons="3" activationFunction="identity" normalizationMethod="softmax">
      <Neuron id="2,0" bias="0.5"><Con from="1,0" weight="1"/><Con from="1,1" weight="-1"/></Neuron>
      <Neuron id="2,1"><Con from="1,0" weight="0.25"/><Con from="1,1" weight="0.125"/></Neuron>
      <Neuron id="2,2" bias="-0.5"><Con from="1,0" weight="-1"/><Con from="1,1" weight="1.5"/></Neuron>
    </NeuralLayer>
    <NeuralOutputs numberOfOutputs="3">
      <NeuralOutput outputNeuron="2,2"><DerivedField optype="categorical" dataType="string"><NormDiscrete field="risk" value="high"/></DerivedField></NeuralOutput>
      <NeuralOutput outputNeuron="2,0"><DerivedField optype="categorical" dataType="string"><NormDiscrete field="risk" value="low"/></DerivedField></NeuralOutput>
      <NeuralOutput outputNeuron="2,1"><DerivedField optype="categorical" dataType="string"><NormDiscrete field="risk" value="mid"/></DerivedField></NeuralOutput>
    </NeuralOutputs>
  </NeuralNetwork>
</PMML>
"""

KNIME = """<?xml version="1.0" encoding="UTF-8"?>
<PMML version="4.2" xmlns="http://www.dmg.org/PMML-4_2">
  <Header><Application name="KNIME" version="2.11"/></Header>
  <DataDictionary numberOfFields="3">
    <DataField name="a" optype="continuous" dataType="double"><Interval closure="closedClosed" leftMargin="0" rightMargin="8"/></DataField>
    <DataField name="b" optype="continuous" dataType="double"/>
    <DataField name="kind" optype="categorical" dataType="string"><Value value="x"/><Value value="y"/></DataField>
  </DataDictionary>
  <TransformationDictionary>
    <DerivedField name="a*" optype="continuous" dataType="double">
      <NormContinuous field="a"><LinearNorm orig="0" norm="-0.5"/><LinearNorm orig="8" norm="1.5"/></NormContinuous>
    </DerivedField>
    <DerivedField name="never used" optype="categorical" dataType="string"><MapValues outputColumn="o"/></DerivedField>
  </TransformationDictionary>
  <NeuralNetwork functionName="classification" activationFunction="logistic" numberOfLayers="2">
    <MiningSchema>
      <MiningField name="a" invalidValueTreatment="asIs"/><MiningField name="b" invalidValueTreatment="asIs"/>
      <MiningField name="kind" usageType="predicted"/>
    </MiningSchema>
    <Output>
      <OutputField name="P (kind=x)" optype="continuous" dataType="double" feature="probability" targetField="kind" value="x"/>
      <OutputField name="P (kind=y)" optype="continuous" dataType="double" feature="probability" targetField="kind" value="y"/>
    </Output>
    <NeuralInputs>
      <NeuralInput id="i1"><DerivedField optype="continuous" dataType="double"><FieldRef field="a*"/></DerivedField></NeuralInput>
      <NeuralInput id="i2"><DerivedField optype="continuous" dataType="double"><FieldRef field="b"/></DerivedField></NeuralInput>
    </NeuralInputs>
    <NeuralLayer>
      <Neuron id="h1" bias="0.1"><Con from="i1" weight="1.5"/><Con from="i2" weight="-0.5"/></Neuron>
      <Neuron id="h2" bias="-0.2"><Con from="i1" weight="-1"/><Con from="i2" weight="0.75"/></Neuron>
      <Neuron id="h3"><Con from="i2" weight="2"/></Neuron>
    </NeuralLayer>
    <NeuralLayer>
      <Neuron id="o1" bias="0.5"><Con from="h1" weight="2"/><Con from="h2" weight="-1"/><Con from="h3" weight="0.3"/></Neuron>
      <Neuron id="o2" bias="-0.5"><Con from="h1" weight="-2"/><Con from="h2" weight="1.25"/><Con from="h3" weight="-0.3"/></Neuron>
    </NeuralLayer>
    <NeuralOutputs>
      <NeuralOutput outputNeuron="o1"><DerivedField optype="categorical" dataType="string"><NormDiscrete field="kind" value="x"/></DerivedField></NeuralOutput>
      <NeuralOutput outputNeuron="o2"><DerivedField optype="categorical" dataType="string"><NormDiscrete field="kind" value="y"/></DerivedField></NeuralOutput>
    </NeuralOutputs>
  </NeuralNetwork>
</PMML>
"""

REGRESSION = """<?xml version="1.0" encoding="UTF-8"?>
<PMML version="4.3" xmlns="http://www.dmg.org/PMML-4_3">
  <Header/>
  <DataDictionary>
    <DataField name="u" optype="continuous" dataType="double"/>
    <DataField name="v" optype="continuous" dataType="double"/>
    <DataField name="grade" optype="categorical" dataType="integer"><Value value="1"/><Value value="2"/><Value value="5"/></DataField>
    <DataField name="y" optype="categorical" dataType="integer"><Value value="0"/><Value value="1"/><Value value="2"/></DataField>
  </DataDictionary>
  <RegressionModel functionName="classification" normalizationMethod="softmax" targetFieldName="y">
    <MiningSchema>
      <MiningField name="y" usageType="target"/><MiningField name="u"/><MiningField name="v"/><MiningField name="grade"/>
    </MiningSchema>
    <Output>
      <OutputField name="predicted" optype="categorical" dataType="integer" feature="predictedValue"/>
      <OutputField name="probability(0)" optype="continuous" dataType="double" feature="probability" value="0"/>
      <OutputField name="probability(1)" optype="continuous" dataType="double" feature="probability" value="1"/>
      <OutputField name="probability(2)" optype="continuous" dataType="double" feature="probability" value="2"/>
    </Output>
    <RegressionTable intercept="0.5" targetCategory="0">
      <NumericPredictor name="u" coefficient="1.5"/><NumericPredictor name="v" exponent="2" coefficient="-0.25"/>
      <CategoricalPredictor name="grade" value="5" coefficient="0.75"/>
      <PredictorTerm coefficient="0.3"><FieldRef field="u"/><FieldRef field="v"/></PredictorTerm>
    </RegressionTable>
    <RegressionTable intercept="-0.25" targetCategory="1">
      <NumericPredictor name="v" coefficient="0.5"/><CategoricalPredictor name="grade" value="2" coefficient="-1"/>
    </RegressionTable>
    <RegressionTable intercept="0" targetCategory="2"/>
  </RegressionModel>
</PMML>
"""


def write(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    layers = (
        DenseLayer(rng.normal(size=(2, 3)), rng.normal(size=3), "tanh"),
        DenseLayer(rng.normal(size=(3, 2)), rng.normal(size=2), "softmax"),
    )
    ours = document(DenseNetwork(layers, np.array([0.5, 2.0]), np.array([1.0, 0.0]), ("a", "b"), ("cat", "dog")))
    files = []
    for name, content in (("spss", SPSS), ("knime", KNIME), ("regression", REGRESSION), ("ours", ours.decode())):
        path = folder / f"{name}.pmml"
        path.write_text(content, "utf-8")
        files.append(path)
    return files
