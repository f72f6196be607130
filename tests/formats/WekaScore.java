import java.io.FileReader;
import java.util.Locale;
import weka.classifiers.Classifier;
import weka.core.Instances;
import weka.core.pmml.PMMLFactory;

/** Prints Weka's class distribution of every row of an ARFF file: WekaScore model.pmml data.arff */
public class WekaScore {
  public static void main(String[] args) throws Exception {
    Classifier model = (Classifier) PMMLFactory.getPMMLModel(args[0]);
    Instances data = new Instances(new FileReader(args[1]));
    data.setClassIndex(data.numAttributes() - 1);
    for (int row = 0; row < data.numInstances(); row++) {
      StringBuilder line = new StringBuilder();
      for (double value : model.distributionForInstance(data.instance(row))) {
        line.append(String.format(Locale.ROOT, "%.17e ", value));
      }
      System.out.println(line);
    }
  }
}
